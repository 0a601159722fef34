// Every end of a connection: in order, by drain, by death at any moment; nothing is left, and the
// others do not notice.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  connect,
  type Connection,
  type Server,
  type Session,
  type VerbenaError,
} from '../../src/index.js';
import { testDevice, timeScale } from '../helpers/environment.js';
import { TestProcess, repository } from '../helpers/process.js';
import { stallingClient } from '../helpers/stalling.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  expectNoSessionObjects,
  expectNothingLeft,
  pattern,
  sessionObjects,
  startServer,
  testCertificate,
} from '../helpers/verbena.js';

/** What is freed without any deadline of its own is freed within this. */
const PROMPT_MS = 1000 * timeScale;

let folder: string;
let server: Server;
let bystander: Connection;
let objectsOfBystander: string[];
const ended: { name: string; code: string }[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'verbena-ends-'));
  const { ca, cert, key } = await testCertificate();
  writeFileSync(join(folder, 'ca.pem'), ca);
  writeFileSync(join(folder, 'cert.pem'), cert);
  writeFileSync(join(folder, 'key.pem'), key);
  server = await startServer({
    regionBytes: 1024 * 1024,
    requestTimeoutMs: 60_000,
    handler: ({ payload, method, signal }) => {
      if (method === 1) {
        return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      }
      if (method === 3) return after(300, payload);
      return method === 2 ? new Uint8Array(8 << 20) : payload;
    },
  });
  server.on('sessionEnd', ({ name }, { code }) => ended.push({ name, code }));
  bystander = await connectTo(server, { name: 'bystander' });
  objectsOfBystander = sessionObjects(server);
});

afterEach(async () => {
  await expect
    .poll(() => sessionObjects(server), { timeout: PROMPT_MS })
    .toEqual(objectsOfBystander);
  expect(server.sessions()).toHaveLength(1);
  const payload = pattern(20_000);
  expectEqualBytes(await bystander.request(payload), payload);
  ended.length = 0;
});

afterAll(async () => {
  await bystander.close();
  await expectNoSessionObjects(server);
  await server.close();
  rmSync(folder, { recursive: true });
  expectNothingLeft();
});

function after<T>(delayMs: number, value: T): Promise<T> {
  return new Promise((resolve) => setTimeout(() => resolve(value), delayMs));
}

const stalled = (stage: string, of = server): TestProcess =>
  stallingClient(stage, of, join(folder, 'ca.pem'));

function endOf(connection: Connection): Promise<VerbenaError> {
  return new Promise((resolve) => connection.once('close', resolve));
}

// Whether a proof that was just sent still arrives is open.
const setupStages = ['tcp', 'tls', 'half a frame', 'hello', 'welcome', 'rts', 'proof'];
const establishedStages = ['ready', 'connected', 'requesting', 'offering', 'pulling', 'writing'];

describe('a client process that is killed', () => {
  it.each(setupStages)('at the stage "%s" of the set-up leaves nothing', async (stage) => {
    await using client = stalled(stage);
    await client.waitFor(/reached/);
    client.child.kill('SIGKILL');
    await client.ended;
    await expect.poll(() => server.snapshot().pendingHandshakes, { timeout: PROMPT_MS }).toBe(0);
  });

  it.each(establishedStages)('when it is "%s" leaves nothing', async (stage) => {
    await using client = stalled(stage);
    await client.waitFor(/reached/);
    client.child.kill('SIGKILL');
    await client.ended;
    await expect.poll(() => ended, { timeout: PROMPT_MS }).toHaveLength(1);
    expect(ended[0]).toEqual({ name: stage, code: 'ERR_VERBENA_CONNECTION_LOST' });
  });

  it('is not missed by others that are killed with it', async () => {
    // An emulated machine takes seconds to start a process.
    const once = ['writing', 'pulling', 'connected'];
    const stages = timeScale > 1 ? once : [...once, ...establishedStages];
    const clients = stages.map((stage) => stalled(stage));
    try {
      await Promise.all(clients.map((client) => client.waitFor(/reached/)));
    } finally {
      await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
    }
    await expect.poll(() => ended, { timeout: PROMPT_MS }).toHaveLength(stages.length);
  });
});

describe('a client process that ends by itself', () => {
  it('through process.exit() leaves nothing, and says nothing', async () => {
    await using client = stalled('exiting');
    expect(await client.ended).toMatchObject({ code: 0, stderr: '' });
    await expect.poll(() => ended, { timeout: PROMPT_MS }).toHaveLength(1);
  });

  it('through an exception that nobody caught leaves nothing', async () => {
    await using client = stalled('throwing');
    const { code, stderr } = await client.ended;
    expect(code).toBe(1);
    expect(stderr).toContain('on purpose');
    await expect.poll(() => ended, { timeout: PROMPT_MS }).toHaveLength(1);
  });
});

describe('a client process that is stopped', () => {
  it('is given up after the keepalive time, and learns it when it goes on', async () => {
    const strict = await startServer({ keepaliveSec: 0.5 * timeScale });
    const given = new Promise<VerbenaError>((resolve) => {
      strict.once('sessionEnd', (_, reason) => resolve(reason));
    });
    await using client = stalled('connected', strict);
    await client.waitFor(/reached/);
    client.child.kill('SIGSTOP');
    const started = performance.now();
    expect((await given).code).toBe('ERR_VERBENA_KEEPALIVE_TIMEOUT');
    expect(performance.now() - started).toBeLessThan(500 * timeScale + PROMPT_MS);
    client.child.kill('SIGCONT');
    await client.waitFor(/closed ERR_VERBENA_(CONNECTION_LOST|QP_ERROR)/);
    expect((await client.ended).code).toBe(0);
    await strict.close();
  });
});

describe('a server process', () => {
  const startProcess = async (keepaliveSec = 60): Promise<[TestProcess, number]> => {
    const script = join(repository, 'test/helpers/echo-server.mjs');
    const files = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    const child = new TestProcess(process.execPath, [
      ...[script, testDevice, ...files],
      String(keepaliveSec),
    ]);
    const [, port] = await child.waitFor(/port (\d+)/);
    return [child, Number(port)];
  };
  const connectToPort = async (port: number): Promise<Connection> => {
    const { ca } = await testCertificate();
    return connect({ device: testDevice, host: '127.0.0.1', port, ca });
  };

  it('that is killed fails everything that is pending at once', async () => {
    const [child, port] = await startProcess();
    const clients = await Promise.all([1, 2, 3].map(() => connectToPort(port)));
    const pending = clients.flatMap((client) => [
      codeOfRejection(client.request(new Uint8Array(1), { method: 1 })),
      codeOfRejection(client.request(new Uint8Array(2 << 20), { method: 1 })),
    ]);
    const closed = clients.map((client) => endOf(client));
    await clients[0]?.request(new Uint8Array(1));
    const started = performance.now();
    child.child.kill('SIGKILL');
    for (const code of await Promise.all(pending)) expect(code).toBe('ERR_VERBENA_CONNECTION_LOST');
    expect(performance.now() - started).toBeLessThan(PROMPT_MS);
    for (const { code } of await Promise.all(closed)) {
      expect(code).toBe('ERR_VERBENA_CONNECTION_LOST');
    }
    expect(await codeOfRejection(clients[0]?.request(new Uint8Array(1)) ?? Promise.resolve())).toBe(
      'ERR_VERBENA_CONNECTION_LOST',
    );
    await Promise.all(clients.map((client) => client.close()));
  });

  it('that is stopped is given up after the keepalive time', async () => {
    const [child, port] = await startProcess(0.4 * timeScale);
    const client = await connectToPort(port);
    const closed = endOf(client);
    const pending = codeOfRejection(client.request(new Uint8Array(1), { method: 1 }));
    child.child.kill('SIGSTOP');
    expect((await closed).code).toBe('ERR_VERBENA_KEEPALIVE_TIMEOUT');
    expect(await pending).toBe('ERR_VERBENA_KEEPALIVE_TIMEOUT');
    await child[Symbol.asyncDispose]();
  });

  it('that is told to stop closes in order', async () => {
    const [child, port] = await startProcess();
    const client = await connectToPort(port);
    const closed = endOf(client);
    const pending = codeOfRejection(client.request(new Uint8Array(1), { method: 1 }));
    child.child.kill('SIGTERM');
    expect((await closed).code).toBe('ERR_VERBENA_PEER_CLOSED');
    expect(await pending).toMatch(/DRAINING|PEER_CLOSED/);
    expect(await child.ended).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('a close', () => {
  it('by the client is seen by the server as such', async () => {
    const client = await connectTo(server, { name: 'leaving' });
    const closed = endOf(client);
    await client.close();
    expect((await closed).code).toBe('ERR_VERBENA_CONNECTION_CLOSED');
    await expect.poll(() => ended).toEqual([{ name: 'leaving', code: 'ERR_VERBENA_PEER_CLOSED' }]);
  });

  it('by the server lets the requests in work finish', async () => {
    const connected = new Promise<Session>((resolve) => server.once('session', resolve));
    const client = await connectTo(server, { name: 'dismissed' });
    const session = await connected;
    const closed = endOf(client);
    const answer = client.request(pattern(3_000_000), { method: 3 });
    await expect.poll(() => session.requestsInWork).toBe(1);
    await session.close();
    expectEqualBytes(await answer, pattern(3_000_000));
    expect((await closed).code).toBe('ERR_VERBENA_PEER_CLOSED');
    await expect.poll(() => ended).toHaveLength(1);
    expect(ended[0]?.code).toBe('ERR_VERBENA_CONNECTION_CLOSED');
  });

  it('by a handler that has its answer at hand lets the client have that', async () => {
    const inWork: number[] = [];
    await using own = await startServer({
      handler: ({ session, payload }) => {
        void session.close();
        inWork.push(session.requestsInWork);
        return payload;
      },
    });
    await using client = await connectTo(own);
    const closed = endOf(client);
    expectEqualBytes(await client.request(pattern(100)), pattern(100));
    expect((await closed).code).toBe('ERR_VERBENA_PEER_CLOSED');
    expect(inWork).toEqual([1]);
    expect(own.stats().requestQueue).toMatchObject({ pending: 0, bytes: 0 });
  });

  it('from both sides at once is in order', async () => {
    const connected = new Promise<Session>((resolve) => server.once('session', resolve));
    const client = await connectTo(server, { name: 'both' });
    const session = await connected;
    await Promise.all([client.close(), session.close()]);
    await expect.poll(() => ended).toHaveLength(1);
    expect(ended[0]?.code).toMatch(/ERR_VERBENA_(PEER|CONNECTION)_CLOSED/);
  });

  it('happens at the end of a scope', async () => {
    let state: () => string;
    {
      await using client = await connectTo(server);
      state = () => client.state;
      expect(state()).toBe('open');
    }
    expect(state()).toBe('closed');
  });

  it('of a server fails what is pending, ends every client, and leaves nothing', async () => {
    const other = await startServer({ handler: () => new Promise<void>(() => undefined) });
    const clients = await Promise.all([1, 2, 3, 4].map(() => connectTo(other)));
    const pending = clients.map((client) => codeOfRejection(client.request(new Uint8Array(1))));
    const closed = clients.map((client) => endOf(client));
    const started = performance.now();
    await other.close();
    expect(performance.now() - started).toBeLessThan(2 * PROMPT_MS);
    for (const code of await Promise.all(pending)) expect(code).toMatch(/DRAINING|PEER_CLOSED/);
    for (const { code } of await Promise.all(closed)) expect(code).toBe('ERR_VERBENA_PEER_CLOSED');
    expect(sessionObjects(server)).toEqual(objectsOfBystander);
    expect(other.state).toBe('closed');
    await other.close();
  });
});

describe('a drain', () => {
  it('lets the requests in work finish, refuses new ones, and ends every client', async () => {
    const releases: (() => void)[] = [];
    const other = await startServer({
      handler: ({ payload }) =>
        new Promise<Uint8Array>((resolve) => releases.push(() => resolve(payload))),
    });
    const client = await connectTo(other);
    const answer = client.request(pattern(500));
    await expect.poll(() => releases).toHaveLength(1);
    const closed = endOf(client);
    const told = new Promise<number>((resolve) => client.once('drain', resolve));
    const drained = other.drain(5000);
    expect(await told).toBe(5000);
    expect(client.state).not.toBe('open');
    expect(await codeOfRejection(client.request(pattern(1)))).toBe('ERR_VERBENA_DRAINING');
    await expect(connectTo(other)).rejects.toMatchObject({
      code: 'ERR_VERBENA_DRAINING',
      retryAfterMs: 1000,
    });
    releases[0]?.();
    expectEqualBytes(await answer, pattern(500));
    await drained;
    expect((await closed).code).toBe('ERR_VERBENA_CONNECTION_CLOSED');
    expect(other.sessions()).toEqual([]);
    await other.close();
  });

  it('gives the requests in work all the time that the server allows', async () => {
    const other = await startServer({ handler: ({ payload }) => after(400, payload) });
    const client = await connectTo(other, { closeTimeoutMs: 50 });
    const answer = client.request(pattern(10));
    await expect.poll(() => other.sessions()[0]?.requestsInWork).toBe(1);
    await other.drain(5000);
    expectEqualBytes(await answer, pattern(10));
    await other.close();
  });

  it('gives up clients that do not finish in time', async () => {
    const other = await startServer({
      closeTimeoutMs: 100,
      handler: () => new Promise<void>(() => undefined),
    });
    const client = await connectTo(other);
    const pending = codeOfRejection(client.request(new Uint8Array(1), { timeoutMs: 60_000 }));
    const started = performance.now();
    await other.drain(200);
    expect(performance.now() - started).toBeGreaterThanOrEqual(199);
    expect(performance.now() - started).toBeLessThan(200 + 2 * PROMPT_MS);
    expect(await pending).toMatch(/DRAINING|PEER_CLOSED|CONNECTION_/);
    await other.close();
  });

  it('then close is the end of a scope', async () => {
    let state: () => string;
    {
      await using other = await startServer();
      state = () => other.state;
      await connectTo(other);
    }
    expect(state()).toBe('closed');
  });
});

describe('twenty clients at once', () => {
  it('all connect, each with numbers of its own, work, and leave nothing', async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => connectTo(server)));
    const numbers = clients.flatMap(({ localPsn, remotePsn }) => [localPsn, remotePsn]);
    expect(new Set(numbers).size).toBe(40);
    expect(new Set(clients.map(({ id }) => id)).size).toBe(20);
    await Promise.all(
      clients.map(async (client, index) => {
        const payload = pattern(100_000 + index, index + 1);
        for (let round = 0; round < 5; round++) {
          expectEqualBytes(await client.request(payload), payload);
          await client.write(0, payload.subarray(0, 1000));
          expect(await client.fetchAdd(8 * (1000 + round), 1n)).toBe(0n);
        }
        expectEqualBytes(await client.read(0, 1000), payload.subarray(0, 1000));
      }),
    );
    await Promise.all(clients.map((client) => client.close()));
  });

  it('come and go, and memory is used again', async () => {
    await (await connectTo(server)).close();
    const { allocations } = server.snapshot().pool;
    for (let round = 0; round < 20; round++) await (await connectTo(server)).close();
    expect(server.snapshot().pool.allocations).toBe(allocations);
  });
});
