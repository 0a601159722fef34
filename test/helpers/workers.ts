// Servers with workers for tests, and what their handler (worker-handler.mjs) can be asked for.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import type { Connection, Server, ServerOptions } from '../../src/index.js';
import { loadAddon } from '../../src/native/load.js';
import { timeScale } from './environment.js';
import { eventually, repository } from './process.js';
import { startServer } from './verbena.js';

export const workerHandler = pathToFileURL(join(repository, 'test/helpers/worker-handler.mjs'));

/** As worker-handler.mjs has them. */
export const Method = {
  whoAreYou: 1,
  hang: 2,
  exit: 3,
  throwLater: 4,
  exhaust: 5,
  fail: 6,
  spin: 7,
  closeSession: 8,
  region: 9,
  long: 10,
  watch: 11,
  watched: 12,
} as const;

/** What a session says of itself in its worker. */
export interface WorkerAnswer {
  readonly id: number;
  readonly name: string;
  readonly worker: number;
  readonly threadId: number;
  readonly remoteAddress: string;
  readonly regionBytes: number;
  /** Processors that its thread may use. */
  readonly affinity: readonly number[];
  /** Of its certificate. */
  readonly subject?: string;
}

export function startWorkers(options: Partial<ServerOptions> = {}): Promise<Server> {
  return startServer({
    workers: 2,
    handler: workerHandler,
    // Enough for the handler, and soon full.
    workerHeapMb: 32,
    requestTimeoutMs: 60_000 * timeScale,
    ...options,
  });
}

export async function whoServes(connection: Connection): Promise<WorkerAnswer> {
  const answer = await connection.request(new Uint8Array(0), { method: Method.whoAreYou });
  return JSON.parse(Buffer.from(answer).toString()) as WorkerAnswer;
}

/**
 * Has the workers report until `read` gives what is wanted: one that is short of time may not have
 * reported at once.
 */
export function reported<T>(server: Server, read: () => T) {
  return expect.poll(async () => {
    await server.refresh();
    return read();
  });
}

/** Resolves when every worker takes sessions. */
export function allReady(server: Server): Promise<void> {
  const areReady = (): boolean => server.stats().workers.every(({ state }) => state === 'ready');
  return eventually(areReady, 10_000, 'the start of every worker');
}

/** After every server and connection is closed: nothing is left in any thread. */
export function expectNothingLeftAnywhere(): void {
  expect(loadAddon().processObjects()).toEqual({ pd: 0, cq: 0, qp: 0, mr: 0, device: 0 });
}

/** Waits until so many connections are left, with both ends in this process, in all threads. */
export function expectSessionsOnly(count: number): Promise<void> {
  // One at each end.
  const wanted = { pd: 2 * count, cq: 2 * count, qp: 2 * count };
  return eventually(
    () => {
      const { pd, cq, qp, mr } = loadAddon().processObjects();
      const isReleased = count > 0 || mr === 0;
      return pd === wanted.pd && cq === wanted.cq && qp === wanted.qp && isReleased;
    },
    5000,
    `the release of all but ${count} connections`,
  );
}
