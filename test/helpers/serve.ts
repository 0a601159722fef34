// `verbena serve` of the device under test: its arguments, and where it listens.
import { testDevice } from './environment.js';
import type { TestProcess } from './process.js';

/** What a server is started with that makes its certificate in the folder `dev`. */
export function serveArguments(dev: string): string[] {
  return ['serve', '--device', testDevice, '--dev-cert', dev, '--port', '0'];
}

/** The address that it prints. */
export async function listening(server: TestProcess): Promise<string> {
  const [, address] = await server.waitFor(/listening on (\S+)/);
  return address ?? '';
}
