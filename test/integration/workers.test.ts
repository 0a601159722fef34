// Worker threads: what sessions do there, their bounds, and every end of a worker; nothing is left
// in any thread, and the others do not notice. What is the same on each device is in
// program/worker-choices.test.ts.
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MessageType } from '../../src/connection/header.js';
import type { Connection, Server, Session, VerbenaError } from '../../src/index.js';
import { makeClientCertificate } from '../helpers/client-certificate.js';
import { timeScale } from '../helpers/environment.js';
import { RawClient, RawEndpoint, keepCredits } from '../helpers/raw-client.js';
import { stallingClient } from '../helpers/stalling.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  pattern,
  sessionObjects,
  testCertificate,
} from '../helpers/verbena.js';
import {
  Method,
  allReady,
  ask,
  empty,
  expectNothingLeftAnywhere,
  expectSessionsOnly,
  moduleIn,
  reported,
  startWorkers,
  whoServes,
  withClients,
  withWorkers,
} from '../helpers/workers.js';

let folder: string;
/** For tests that need none of their own: threads take long to start on an emulated machine. */
let shared: Server;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'verbena-workers-'));
  writeFileSync(join(folder, 'ca.pem'), (await testCertificate()).ca);
  shared = await startWorkers({ regionBytes: 1 << 20 });
});
afterEach(() => expectSessionsOnly(0));
afterAll(async () => {
  await shared.close();
  rmSync(folder, { recursive: true });
  expectNothingLeftAnywhere();
});

describe('a server with workers', () => {
  it('serves sessions in threads of their own, and shows where they are', async () => {
    await withClients(shared, ['a', 'b'], async (server, clients) => {
      const answers = await Promise.all(clients.map(whoServes));
      const { workers } = server.stats();
      expect(new Set(answers.map(({ threadId }) => threadId)).size).toBe(2);
      for (const [at, { id, name, worker, threadId, regionBytes }] of answers.entries()) {
        const session = server.sessions().find((each) => each.id === id) as Session;
        expect(session).toMatchObject({ name, worker, remoteAddress: answers[at]?.remoteAddress });
        expect(workers[worker]).toMatchObject({ index: worker, threadId, sessions: 1 });
        expect(regionBytes).toBe(clients[at]?.regionLength);
        expect(session.region).toHaveLength(0);
      }
    });
  });

  it('answers small and large requests, and lends each session its memory', async () => {
    await withClients(shared, ['a', 'b', 'c'], async (_, clients) => {
      const one = async (client: Connection, seed: number): Promise<void> => {
        for (const length of [0, 10, 5000, 3 << 20]) {
          const payload = pattern(length, seed);
          expectEqualBytes(await client.request(payload), payload);
        }
        const bytes = pattern(500_000, seed);
        await client.write(8, bytes);
        expectEqualBytes(await client.read(8, bytes.length), bytes);
        expect(await client.fetchAdd(0, BigInt(seed))).toBe(0n);
        const seen = Buffer.from(await ask(client, Method.region));
        expect(seen.readBigUInt64LE()).toBe(BigInt(seed));
      };
      await Promise.all(clients.map((client, at) => one(client, at + 1)));
    });
  });

  it('tells the server of handlers that fail, and of nothing that is RequestError', async () => {
    await withClients(shared, ['a'], async (server, [client]) => {
      const failed = once(server, 'requestError') as Promise<[Session, Error]>;
      expect(await codeOfRejection(ask(client, Method.fail))).toBe('ERR_VERBENA_HANDLER');
      const [session, error] = await failed;
      expect(session.name).toBe('a');
      expect(error).toMatchObject({ name: 'Error', message: 'this handler fails' });
      expect(error.stack).toContain('worker-handler.mjs');
    });
  });

  it('gives handlers the certificate of their client', async () => {
    const client = makeClientCertificate('known');
    await withWorkers({ workers: 1, ca: client.cert, requestCert: true }, [], async (server) => {
      const known = await connectTo(server, client);
      expect((await whoServes(known)).subject).toBe('known');
      expect(server.sessions()[0]?.certificate?.subject.CN).toBe('known');
      await known.close();
    });
  });

  it('gives handlers the immediates of their client', async () => {
    await withClients(shared, ['a'], async (_, [client]) => {
      await ask(client, Method.watch);
      for (const immediate of [7, 8]) {
        await (client as Connection).write(0, pattern(10), { immediate });
      }
      const seen = async (): Promise<unknown> =>
        JSON.parse(Buffer.from(await ask(client, Method.watched)).toString());
      await expect.poll(seen).toEqual([7, 8]);
    });
  });

  it('lets a handler close its session', async () => {
    await withClients(shared, ['a'], async (server, [client]) => {
      const closed = once(client as Connection, 'close') as Promise<[VerbenaError]>;
      expectEqualBytes(await ask(client, Method.closeSession, pattern(9)), pattern(9));
      expect((await closed)[0].code).toBe('ERR_VERBENA_PEER_CLOSED');
      await expect.poll(() => server.sessions()).toHaveLength(0);
    });
  });

  it('counts what its workers do, and knows their objects', async () => {
    await withWorkers({ workerAffinity: 'auto' }, ['a', 'b', 'c'], async (server, clients) => {
      for (const client of clients) await client.request(pattern(10));
      const ofEach = (): number[][] =>
        server.stats().workers.map(({ sessions, received, sent }) => [sessions, received, sent]);
      await reported(server, ofEach).toEqual([
        [2, 2, 2],
        [1, 1, 1],
      ]);
      const { workers, traffic, resources, requestDurations } = server.stats();
      expect(traffic).toMatchObject({ requests: 3, responses: 3 });
      expect(requestDurations.count).toBe(3);
      for (const worker of workers) {
        expect(worker.receivedBatches).toBeGreaterThan(0);
        expect(worker.sentBatches).toBeGreaterThan(0);
        expect(worker.busySeconds).toBeGreaterThan(0);
      }
      const answers = await Promise.all(clients.map(whoServes));
      for (const { worker, affinity } of answers) {
        expect(affinity).toEqual([workers[worker]?.processor]);
      }
      expect(resources).toMatchObject({ qp: 6, pollGroup: 3, device: 3 });
      const owners = server.snapshot().sessions.map(({ owner }) => owner);
      expect(server.snapshot().tree.map(({ owner }) => owner)).toEqual(
        expect.arrayContaining([...owners, expect.stringMatching(/\(worker 1\)$/)]),
      );
      const kinds = server.sessions().map((session) => session.resources().objects[0]?.kind);
      expect(kinds).toEqual(['pd', 'pd', 'pd']);
      const answered = (): number[] => server.sessions().map((each) => each.requestsAnswered);
      await reported(server, answered).toEqual([2, 2, 2]);
    });
  });

  it.each(['hello', 'welcome', 'rts', 'connected', 'requesting', 'offering', 'pulling', 'writing'])(
    'frees what a client has that is killed at "%s"',
    async (stage) => {
      await withClients(shared, ['bystander'], async (server, [bystander]) => {
        await using client = stallingClient(stage, server, join(folder, 'ca.pem'));
        await client.waitFor(/reached/);
        client.child.kill('SIGKILL');
        await client.ended;
        // The client was another process: here is the server's end of it, and both of the other's.
        await expectSessionsOnly(1);
        expectEqualBytes(await (bystander as Connection).request(pattern(99)), pattern(99));
      });
    },
  );
});

describe('the bounds of a worker', () => {
  it('refuse requests beyond workerChannelSize, on that worker', async () => {
    await withWorkers({ workerChannelSize: 3 }, ['a', 'b', 'c'], async (server, clients) => {
      const [a, b, c] = clients;
      const stop = new AbortController();
      const hanging = Array.from({ length: 3 }, () =>
        codeOfRejection(ask(a, Method.hang, empty, stop.signal)),
      );
      await expect.poll(() => server.stats().workers[0]?.requestsInWork).toBe(3);
      await expect(ask(c, Method.whoAreYou)).rejects.toMatchObject({
        code: 'ERR_VERBENA_RESOURCE_EXHAUSTED',
        message: expect.stringContaining('workerChannelSize') as unknown,
        retryAfterMs: expect.any(Number) as unknown,
      });
      expect((await whoServes(b as Connection)).worker).toBe(1);
      const rejected = (): number[] => server.stats().workers.map((each) => each.rejected);
      await reported(server, rejected).toEqual([1, 0]);
      expect(server.stats().requestQueue).toMatchObject({ pending: 3, refused: { queueFull: 1 } });
      stop.abort();
      await Promise.all(hanging);
    });
  });

  it('refuse requests while senderChannelSize answers wait for one who takes none', async () => {
    const options = { workers: 1, senderChannelSize: 5 };
    await withWorkers(options, ['other'], async (server, [other]) => {
      const client = await RawClient.connect(server);
      const raw = await RawEndpoint.open(client);
      raw.endpoint.send(MessageType.proof, 0, 0, 0, raw.proof());
      expect((await client.next()).message.type).toBe('ready');
      keepCredits(raw);
      for (let id = 0; id < raw.welcome.slots + 10; id++) {
        raw.endpoint.send(MessageType.request, 0, id, Method.long);
      }
      const waiting = (): number => server.stats().traffic.answersWaiting;
      await reported(server, waiting).toBeGreaterThanOrEqual(5);
      await expect(ask(other, 0)).rejects.toMatchObject({
        code: 'ERR_VERBENA_RESOURCE_EXHAUSTED',
        message: expect.stringContaining('senderChannelSize') as unknown,
        retryAfterMs: expect.any(Number) as unknown,
      });
      client.socket.destroy();
      await raw.close();
      await expect.poll(() => server.sessions()).toHaveLength(1);
      expectEqualBytes(await ask(other, 0, pattern(5)), pattern(5));
      const refused = (): number => server.stats().requestQueue.refused.answersWaiting;
      await reported(server, refused).toBeGreaterThan(0);
    });
  });
});

describe('a worker that dies', () => {
  it.each([
    ['calls process.exit()', Method.exit, /ended with status 3/],
    ['throws what nobody catches', Method.throwLater, /not caught: nobody catches this/],
    ['runs out of memory', Method.exhaust, /ran out of memory/],
  ])('because it %s closes its sessions with a code, and is replaced', async (_, method, why) => {
    await withWorkers({}, ['a', 'b', 'c', 'd'], async (server, clients) => {
      const [a, b, c, d] = clients as [Connection, Connection, Connection, Connection];
      const before = await whoServes(a);
      const ended: string[] = [];
      server.on('sessionEnd', ({ name }, { code }) => ended.push(`${name} ${code}`));
      const lost = once(server, 'workerLost') as Promise<[number, VerbenaError]>;
      const ends = [a, c].map((client) => once(client, 'close') as Promise<[VerbenaError]>);
      // In work: of the same client, of another of the same worker, and of one of the other worker.
      const doomed = [a, c].map((client) => codeOfRejection(ask(client, Method.hang)));
      const stop = new AbortController();
      const survivor = codeOfRejection(ask(b, Method.hang, empty, stop.signal));
      await reported(server, () => server.stats().traffic.requests).toBe(4);

      expect(await codeOfRejection(ask(a, method))).toBe('ERR_VERBENA_WORKER_LOST');
      expect(await Promise.all(doomed)).toEqual(Array(2).fill('ERR_VERBENA_WORKER_LOST'));
      for (const [error] of await Promise.all(ends)) {
        expect(error.code).toBe('ERR_VERBENA_WORKER_LOST');
        // What went wrong inside is nothing for a client.
        expect(error.message).not.toMatch(why);
      }
      const [worker, reason] = await lost;
      expect(worker).toBe(before.worker);
      expect(reason.message).toMatch(why);

      await expectSessionsOnly(2);
      expect(ended.sort()).toEqual(['a ERR_VERBENA_WORKER_LOST', 'c ERR_VERBENA_WORKER_LOST']);
      expect(b.isOpen && d.isOpen).toBe(true);
      expectEqualBytes(await ask(d, 0, pattern(77)), pattern(77));
      expect(server.stats().workers[1]).toMatchObject({ requestsInWork: 1, replacements: 0 });

      await allReady(server);
      expect(server.stats().workers[0]).toMatchObject({ replacements: 1, sessions: 0 });
      // Whether the request that killed it was in the last report is open.
      expect([2, 3]).toContain(server.stats().traffic.requestsAbandoned);
      const left = new Set([...ownersOfSessions(server), ...ownersOfClients(server)]);
      expect(left.size).toBe(4);
      await reported(server, () => ownersOfObjects(server)).toEqual(left);
      const next = await connectTo(server, { name: 'next' });
      const after = await whoServes(next);
      expect(after.worker).toBe(0);
      expect(after.threadId).not.toBe(before.threadId);
      await next.close();
      stop.abort();
      expect(await survivor).toBe('ERR_VERBENA_ABORTED');
    });
  });

  it('takes a client in its set-up with it, which is told so', async () => {
    await withWorkers({ workers: 1 }, ['a'], async (server, [a]) => {
      const client = await RawClient.connect(server);
      const raw = await RawEndpoint.open(client);
      expect(await codeOfRejection(ask(a, Method.exit))).toBe('ERR_VERBENA_WORKER_LOST');
      expect(await client.refusal()).toMatchObject({ type: 'reject', code: 'WORKER_LOST' });
      await raw.close();
      await expectSessionsOnly(0);
    });
  });

  it('has newcomers come back later until another could be started', async () => {
    const handler = moduleIn(
      folder,
      'moody.mjs',
      `import { existsSync } from 'node:fs';
      if (existsSync(new URL('no-more', import.meta.url))) throw new Error('not now');
      export default ({ method, payload }) => (method === 0 ? payload : process.exit());`,
    );
    await withWorkers({ workers: 1, handler }, ['a'], async (server, [a]) => {
      const mood = join(folder, 'no-more');
      writeFileSync(mood, '');
      expect(await codeOfRejection(ask(a, Method.exit))).toBe('ERR_VERBENA_WORKER_LOST');
      await expect.poll(() => server.stats().workers[0]?.state).toBe('down');
      await expect(connectTo(server)).rejects.toMatchObject({
        code: 'ERR_VERBENA_RESOURCE_EXHAUSTED',
        retryAfterMs: expect.any(Number) as unknown,
      });
      rmSync(mood);
      await allReady(server);
      const next = await connectTo(server);
      expectEqualBytes(await next.request(pattern(3)), pattern(3));
      await next.close();
    });
  });
});

/** Whose objects there are, besides those of the threads themselves. */
function ownersOfObjects(server: Server): Set<string> {
  return new Set(sessionObjects(server).map((each) => each.replace(/.* of /, '')));
}

function ownersOfSessions(server: Server): string[] {
  return server.snapshot().sessions.map(({ owner }) => owner);
}

/** Of their ends in this thread, which shares the server's device. */
function ownersOfClients(server: Server): string[] {
  const { tree } = server.snapshot();
  return tree.map(({ owner }) => owner).filter((owner) => owner.startsWith('client-'));
}

describe('drain', () => {
  it('of one worker sends its clients away, and starts it anew', async () => {
    await withWorkers({}, ['a', 'b'], async (server, clients) => {
      const [a, b] = clients as [Connection, Connection];
      const [before, other] = await Promise.all([whoServes(a), whoServes(b)]);
      const drained = once(a, 'drain');
      const closed = once(a, 'close') as Promise<[VerbenaError]>;
      await server.drainWorker(before.worker);
      await drained;
      expect((await closed)[0].code).toBe('ERR_VERBENA_CONNECTION_CLOSED');
      expect(await whoServes(b)).toEqual(other);
      expect(
        server.stats().workers.map(({ state, replacements }) => [state, replacements]),
      ).toEqual([
        ['ready', 0],
        ['ready', 0],
      ]);
      const next = await connectTo(server);
      const after = await whoServes(next);
      expect(after).toMatchObject({ worker: before.worker });
      expect(after.threadId).not.toBe(before.threadId);
      await next.close();
    });
  });

  it('of one worker gives up clients that stay longer than they may', async () => {
    await withWorkers({ workers: 1 }, [], async (server) => {
      await using client = stallingClient('rts', server, join(folder, 'ca.pem'));
      await client.waitFor(/reached/);
      await server.drainWorker(0, 0);
      await expectSessionsOnly(0);
    });
  });

  it('of a worker that there is not says which there are', async () => {
    await withWorkers({}, [], async (server) => {
      await expect(server.drainWorker(2)).rejects.toMatchObject({
        code: 'ERR_VERBENA_INVALID_OPTION',
        message: expect.stringContaining('from 0 to 1') as unknown,
      });
    });
  });

  it('of the server lets requests in work finish, then ends the workers', async () => {
    const options = { closeTimeoutMs: 300 * timeScale };
    await withWorkers(options, ['a', 'b'], async (server, clients) => {
      const hanging = clients.map((client) => codeOfRejection(ask(client, Method.hang)));
      await expect.poll(() => server.stats().requestQueue.pending).toBe(2);
      const ends = clients.map((client) => once(client, 'close') as Promise<[VerbenaError]>);
      await server.drain(300 * timeScale);
      await server.close();
      await Promise.all(ends);
      for (const code of await Promise.all(hanging)) {
        expect(code).toMatch(/ERR_VERBENA_(DRAINING|PEER_CLOSED|CONNECTION_CLOSED)/);
      }
      expect(server.stats().workers.map(({ state }) => state)).toEqual(['stopped', 'stopped']);
    });
  });
});

describe('close()', () => {
  it('ends a worker that is stuck in a handler', async () => {
    const options = { closeTimeoutMs: 300 * timeScale };
    await withWorkers(options, ['stuck', 'other'], async (server, clients) => {
      const [stuck] = clients as [Connection];
      const spinning = codeOfRejection(ask(stuck, Method.spin));
      await expect.poll(() => server.stats().workers[0]?.requestsInWork).toBe(1);
      await server.close();
      expect(await spinning).toMatch(/ERR_VERBENA_(WORKER_LOST|PEER_CLOSED|CONNECTION_LOST)/);
    });
  });

  it('with requests in work and clients that transfer leaves nothing', async () => {
    await withWorkers({}, ['a', 'b', 'c'], async (server, clients) => {
      const all = clients.flatMap((client) => [
        codeOfRejection(ask(client, Method.hang)),
        client.request(new Uint8Array(8 << 20)).catch(() => undefined),
        client.write(0, new Uint8Array(client.regionLength)).catch(() => undefined),
      ]);
      await expect.poll(() => server.stats().requestQueue.pending).toBeGreaterThanOrEqual(3);
      await server.close();
      await Promise.all(all);
    });
  });
});
