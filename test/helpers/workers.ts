// Servers with workers for tests, and what their handler (worker-handler.mjs) can be asked for.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import type { Connection, Server, ServerOptions } from '../../src/index.js';
import { loadAddon } from '../../src/native/load.js';
import { timeScale } from './environment.js';
import { eventually, repository } from './process.js';
import { connectTo, startServer } from './verbena.js';

/** A payload for those who need none. */
export const empty = new Uint8Array(0);

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
  const answer = await connection.request(empty, { method: Method.whoAreYou });
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

type Use = (server: Server, clients: Connection[]) => Promise<void>;

/** Clients of a server by name; they are gone when `use` returns. */
export async function withClients(
  server: Server,
  names: readonly string[],
  use: Use,
): Promise<void> {
  const clients: Connection[] = [];
  try {
    // One after the other: round-robin tells them apart by their order.
    for (const name of names) clients.push(await connectTo(server, { name }));
    await use(server, clients);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
}

/** The same with a server of its own. */
export async function withWorkers(
  options: Parameters<typeof startWorkers>[0],
  names: readonly string[],
  use: Use,
): Promise<void> {
  const server = await startWorkers(options);
  try {
    await withClients(server, names, use);
  } finally {
    await server.close();
  }
}

export function ask(
  client: Connection | undefined,
  method: number,
  payload: Uint8Array = empty,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  return (client as Connection).request(payload, { method, signal });
}

/** A handler module of that text, in the folder. */
export function moduleIn(folder: string, name: string, text: string): URL {
  const path = join(folder, name);
  writeFileSync(path, text);
  return pathToFileURL(path);
}
