// Choices of a server with workers: where sessions go, what handles their requests, and options
// that are wrong or change.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Connection } from '../../../src/index.js';
import { newPlacement, type WorkerLoad } from '../../../src/workers/placement.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  pattern,
  startServer,
} from '../../helpers/verbena.js';
import {
  Method,
  ask,
  empty,
  expectNothingLeftAnywhere,
  expectSessionsOnly,
  moduleIn,
  startWorkers,
  whoServes,
  withWorkers,
  workerHandler,
} from '../../helpers/workers.js';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'verbena-workers-'));
});
afterEach(() => expectSessionsOnly(0));
afterAll(() => {
  rmSync(folder, { recursive: true });
  expectNothingLeftAnywhere();
});

describe('placement', () => {
  it('round-robin takes each worker in turn', async () => {
    await withWorkers({}, ['a', 'b', 'c'], async (_, clients) => {
      const answers = await Promise.all(clients.map(whoServes));
      expect(answers.map(({ worker }) => worker)).toEqual([0, 1, 0]);
    });
  });

  it('client-hash gives a client that comes back the worker that it had', async () => {
    const names = ['dora', 'emil', 'fritz', 'gert'];
    const workers = [0, 1].map((index): WorkerLoad => {
      return { index, sessions: 0, requestsInWork: 0, busy: 0 };
    });
    const homes = names.map((name) => newPlacement('client-hash').choose(workers, name).index);
    expect(new Set(homes).size).toBeGreaterThan(1);
    const options = { workerStrategy: 'client-hash' } as const;
    await withWorkers(options, [...names, ...names], async (_, clients) => {
      const answers = await Promise.all(clients.map(whoServes));
      expect(answers.map(({ worker }) => worker)).toEqual([...homes, ...homes]);
    });
  });

  it('least-loaded counts the requests that are in work now', async () => {
    await withWorkers({ workerStrategy: 'least-loaded' }, ['busy'], async (server, [busy]) => {
      const { worker } = await whoServes(busy as Connection);
      const stop = new AbortController();
      const requests = Array.from({ length: 5 }, () =>
        codeOfRejection(ask(busy, Method.hang, empty, stop.signal)),
      );
      await expect.poll(() => server.stats().workers[worker]?.requestsInWork).toBe(5);
      const other = await connectTo(server, { name: 'other' });
      expect((await whoServes(other)).worker).toBe(1 - worker);
      stop.abort();
      expect(new Set(await Promise.all(requests))).toEqual(new Set(['ERR_VERBENA_ABORTED']));
      await expect.poll(() => server.stats().workers[worker]?.requestsInWork).toBe(0);
      await other.close();
    });
  });
});

describe('reload()', () => {
  it('counts for sessions opened from then on, in every worker and its successor', async () => {
    const server = await startWorkers({ maxPayloadBytes: 5000 });
    const before = await connectTo(server);
    expect(server.reload({ maxPayloadBytes: 1000, workers: 1 })).toEqual({
      changed: ['maxPayloadBytes'],
      needsRestart: ['workers'],
    });
    const after = [await connectTo(server), await connectTo(server)];
    expect(after.map(({ maxPayloadBytes }) => maxPayloadBytes)).toEqual([1000, 1000]);
    expect(before.maxPayloadBytes).toBe(5000);
    await Promise.all([before, ...after].map((connection) => connection.close()));
    await Promise.all([0, 1].map((worker) => server.drainWorker(worker)));
    const later = await connectTo(server);
    expect(later.maxPayloadBytes).toBe(1000);
    await later.close();
    await server.close();
  });
});

describe('a handler module', () => {
  it.each([0, 1])('serves with %i workers', async (workers) => {
    await withWorkers({ workers }, ['a'], async (_, [client]) => {
      expect(await whoServes(client as Connection)).toMatchObject({ name: 'a' });
      expectEqualBytes(await (client as Connection).request(pattern(50)), pattern(50));
    });
  });

  it.each([
    ['absent.mjs', undefined, /absent\.mjs does not exist/],
    ['named.mjs', 'export const handler = () => undefined;', /exports handler.*export default/],
    ['number.mjs', 'export default 5;', /no function but of type number.*export default/],
    ['throwing.mjs', 'throw new Error("no database");', /while it was loaded: no database/],
    ['broken.mjs', 'export default (', /cannot be parsed/],
  ])('that is %s fails the start of the workers, and says how to mend it', async (...row) => {
    const [name, text, message] = row;
    const handler =
      text === undefined ? pathToFileURL(join(folder, name)) : moduleIn(folder, name, text);
    await expect(startWorkers({ workers: 1, handler })).rejects.toMatchObject({
      code: 'ERR_VERBENA_HANDLER_MODULE',
      message: expect.stringMatching(message) as unknown,
    });
  });

  it('that ends its thread while it is loaded fails the start of the workers', async () => {
    const handler = moduleIn(folder, 'exiting.mjs', 'process.exit(5);');
    await expect(startWorkers({ workers: 1, handler })).rejects.toMatchObject({
      code: 'ERR_VERBENA_WORKER_LOST',
      message: expect.stringContaining('status 5') as unknown,
    });
  });

  it('is needed for workers: a function cannot go there', async () => {
    const started = startServer({ workers: 1, handler: () => undefined });
    await expect(started).rejects.toMatchObject({
      code: 'ERR_VERBENA_INVALID_OPTION',
      message: expect.stringMatching(/export default.*new URL/) as unknown,
    });
  });
});

describe('options of workers', () => {
  it.each([
    [{ workers: -1 }, /workers/],
    [{ workers: 1.5 }, /workers/],
    [
      { workerStrategy: 'random' as never },
      /workerStrategy must be one of round-robin, client-hash/,
    ],
    [{ workerAffinity: [] }, /workerAffinity/],
    [{ workerAffinity: [8000] }, /processor 8000/],
    [{ workerChannelSize: 0 }, /workerChannelSize/],
    [{ senderChannelSize: 0 }, /senderChannelSize/],
    [{ workerHeapMb: 1 }, /workerHeapMb/],
  ])('that are wrong are named: %j', async (options, message) => {
    await expect(startWorkers(options)).rejects.toMatchObject({
      code: 'ERR_VERBENA_INVALID_OPTION',
      message: expect.stringMatching(message) as unknown,
    });
  });

  it('may leave their number to the machine', async () => {
    await withWorkers({ workers: 'auto' }, ['a'], async (server, [client]) => {
      expect(server.stats().workers.length).toBeGreaterThanOrEqual(1);
      expect(await whoServes(client as Connection)).toMatchObject({ worker: 0 });
    });
  });

  it('are off unless asked for', async () => {
    const server = await startServer({ handler: workerHandler });
    expect(server.stats().workers).toEqual([]);
    await expect(server.drainWorker(0)).rejects.toMatchObject({
      code: 'ERR_VERBENA_INVALID_OPTION',
    });
    await server.close();
  });
});
