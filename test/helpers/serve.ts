// `verbena serve` of the device under test: its arguments, its folder, and where it listens.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { testDevice } from './environment.js';
import type { TestProcess } from './process.js';

export interface ServeFolder {
  /** There while the tests of the file run. */
  path: string;
  /** Where servers make their certificate. */
  dev: string;
  /** What a server is started with. */
  serve: () => string[];
}

/** A folder for the servers of a test file. */
export function useServeFolder(): ServeFolder {
  const folder: ServeFolder = {
    path: '',
    dev: '',
    serve: () => ['serve', '--device', testDevice, '--dev-cert', folder.dev, '--port', '0'],
  };
  beforeAll(async () => {
    folder.path = await mkdtemp(join(tmpdir(), 'verbena-serve-'));
    folder.dev = join(folder.path, 'dev');
  });
  afterAll(() => rm(folder.path, { recursive: true, force: true }));
  return folder;
}

/** The address that it prints. */
export async function listening(server: TestProcess): Promise<string> {
  const [, address] = await server.waitFor(/listening on (\S+)/);
  return address ?? '';
}
