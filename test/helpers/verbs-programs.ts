// Runs programs that we did not write on the soft device.
import { freePort, verbena, waitUntilListening, type Ended } from './process.js';

export interface PairResult {
  readonly server: Ended;
  readonly client: Ended;
}

/** Runs a program twice on the soft device: as server, then as its client on another address. */
export async function runPair(program: string, args: readonly string[]): Promise<PairResult> {
  const port = await freePort();
  const command = ['run', '--', program, '-p', String(port), ...args];
  await using server = verbena(command);
  await waitUntilListening(port, server);
  await using client = verbena([...command, '127.0.0.1']);
  const [clientEnded, serverEnded] = await Promise.all([client.succeeded(), server.succeeded()]);
  return { server: serverEnded, client: clientEnded };
}
