// Pools of client instances against a server: connections made when they are needed, shared,
// replaced, and closed when they are not.
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually } from '../helpers/process.js';
import {
  codeOfRejection,
  expectEqualBytes,
  expectNoSessionObjects,
  expectNothingLeft,
  pattern,
  poolFor,
  startServer,
} from '../helpers/verbena.js';

afterEach(() => expectNothingLeft());

/** A handler that answers once `open` was called. */
function gate() {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  const handler = async ({ payload }: { payload: Uint8Array }): Promise<Uint8Array> => {
    await opened;
    return payload;
  };
  return { open, handler };
}

describe('a client instance', () => {
  it('opens one connection for many requests, and none before the first', async () => {
    await using server = await startServer();
    await using pool = await poolFor(server, { connectionsPerInstance: 8 });
    using client = await pool.acquire();
    expect(pool.total).toBe(0);
    const sent = Array.from({ length: 10 }, (_, index) => pattern(100, index));
    const received = await Promise.all(sent.map((payload) => client.request(payload)));
    received.forEach((response, index) => expectEqualBytes(response, pattern(100, index)));
    expect(pool.total).toBe(1);
    expect(server.sessions()).toHaveLength(1);
  });

  it('opens others while those it has are busy, up to its limit, and shares them', async () => {
    const { open, handler } = gate();
    await using server = await startServer({ handler });
    await using pool = await poolFor(server, {
      connectionsPerInstance: 3,
      requestsPerConnection: 1,
    });
    using client = await pool.acquire();
    const answers: Promise<Uint8Array>[] = [];
    const inWork = (): number[] => server.sessions().map(({ requestsInWork }) => requestsInWork);
    const another = async (): Promise<void> => {
      answers.push(client.request(pattern(8)));
      const all = (): number => inWork().reduce((sum, count) => sum + count, 0);
      await eventually(() => all() === answers.length, 5000, 'the request at the server');
    };
    while (pool.total < 3 && answers.length < 30) await another();
    for (let more = 0; more < 9; more++) await another();
    expect(pool.total).toBe(3);
    const counts = inWork();
    expect(counts).toHaveLength(3);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    open();
    for (const answer of answers) expectEqualBytes(await answer, pattern(8));
  });

  it('replaces a connection that the server closed', async () => {
    await using server = await startServer();
    await using pool = await poolFor(server);
    using client = await pool.acquire();
    await client.request(pattern(8));
    const [session] = server.sessions();
    const ended = once(server, 'sessionEnd');
    await session?.close();
    await ended;
    await eventually(() => pool.total === 0, 5000, 'the end of the connection at the client');
    expectEqualBytes(await client.request(pattern(9)), pattern(9));
    expect(server.sessions()[0]?.id).not.toBe(session?.id);
  });

  it('closes what was idle for its time, and opens again', async () => {
    await using server = await startServer();
    await using pool = await poolFor(server, { idleTimeoutMs: 20 });
    using client = await pool.acquire();
    await client.request(pattern(8));
    await eventually(() => pool.total === 0, 5000, 'the end of the idle connection');
    await expectNoSessionObjects(server);
    expectEqualBytes(await client.request(pattern(8)), pattern(8));
  });

  it('keeps what belongs together on one connection', async () => {
    await using server = await startServer();
    await using pool = await poolFor(server, {
      connectionsPerInstance: 4,
      requestsPerConnection: 1,
    });
    using client = await pool.acquire();
    const counts = Array.from({ length: 8 }, () =>
      client.run(async (connection) => {
        const before = await connection.fetchAdd(0, 1n);
        return (await connection.fetchAdd(0, 1n)) > before;
      }),
    );
    expect(await Promise.all(counts)).toEqual(counts.map(() => true));
  });

  it('tells the caller why no connection can be had', async () => {
    const server = await startServer();
    const pool = await poolFor(server);
    await server.close();
    const client = await pool.acquire();
    const both = [client.request(pattern(1)), client.request(pattern(1))];
    for (const one of both) expect(await codeOfRejection(one)).toBe('ERR_VERBENA_CONNECT');
    client.release();
    await pool.close();
  });
});

describe('closing a pool', () => {
  it('waits for those who hold an instance, and for what is in work', async () => {
    const { open, handler } = gate();
    await using server = await startServer({ handler });
    const pool = await poolFor(server, { clientInstancesPerPool: 2 });
    const client = await pool.acquire();
    const answer = client.request(pattern(100));
    await eventually(() => server.sessions()[0]?.requestsInWork === 1, 5000, 'the request');
    const closed = pool.close();
    client.release();
    open();
    expectEqualBytes(await answer, pattern(100));
    await closed;
    expect(pool.total).toBe(0);
    await expectNoSessionObjects(server);
  });

  it('gives up a connection that is being made', async () => {
    await using server = await startServer();
    const pool = await poolFor(server, { closeTimeoutMs: 50 });
    const client = await pool.acquire();
    const code = codeOfRejection(client.request(pattern(1)));
    client.release();
    await pool.close();
    expect(['ERR_VERBENA_ABORTED', 'ERR_VERBENA_CLOSED']).toContain(await code);
    await expectNoSessionObjects(server);
  });
});
