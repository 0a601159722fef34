// Clients that try again, when asked to, what a server had no room for: requests and set-ups.
import { afterEach, describe, expect, it } from 'vitest';
import type { Connection, Server } from '../../src/index.js';
import {
  codeOfRejection,
  connectTo,
  expectNoSessionObjects,
  expectNothingLeft,
  startServer,
} from '../helpers/verbena.js';

let server: Server;
let connections: Connection[] = [];

async function join(options: Parameters<typeof connectTo>[1]): Promise<Connection> {
  const connection = await connectTo(server, options);
  connections.push(connection);
  return connection;
}

afterEach(async () => {
  await Promise.all(connections.map((connection) => connection.close()));
  connections = [];
  await expectNoSessionObjects(server);
  await server.close();
  expectNothingLeft();
});

describe('a request that is refused for want of room', () => {
  /** A server with one place, and a request that holds it until `finish`. */
  async function startOccupied(): Promise<{ finish: () => void; held: Promise<Uint8Array> }> {
    let finish = (): void => undefined;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    server = await startServer({
      queueSize: 1,
      handler: ({ method, payload }) => (method === 1 ? finished.then(() => payload) : payload),
    });
    const holder = await join({});
    const held = holder.request(new Uint8Array(1), { method: 1 });
    await expect.poll(() => server.stats().requestQueue.pending).toBe(1);
    return { finish, held };
  }

  it('is tried again when the server said, and answered then', async () => {
    const { finish, held } = await startOccupied();
    const client = await join({ retry: true });
    const answer = client.request(new Uint8Array(2));
    await expect.poll(() => server.stats().requestQueue.refused.queueFull).toBe(1);
    finish();
    expect(await answer).toHaveLength(2);
    await held;
    expect(client.retryCounts).toEqual({ retries: 1, retriesDenied: 0 });
  });

  it('is not tried again unless that was asked for', async () => {
    const { finish, held } = await startOccupied();
    const client = await join({});
    expect(await codeOfRejection(client.request(new Uint8Array(2)))).toBe(
      'ERR_VERBENA_RESOURCE_EXHAUSTED',
    );
    expect(client.retryCounts).toEqual({ retries: 0, retriesDenied: 0 });
    finish();
    await held;
  });

  it('rejects with the refusal when the connection closes meanwhile', async () => {
    const { finish, held } = await startOccupied();
    const client = await join({ retry: true });
    const answer = codeOfRejection(client.request(new Uint8Array(2)));
    await expect.poll(() => server.stats().requestQueue.refused.queueFull).toBe(1);
    // The refusal is on its way; the answer to a later refusal shows that it has arrived.
    await codeOfRejection(client.request(new Uint8Array(2), { timeoutMs: 500 }));
    await client.close();
    expect(await answer).toBe('ERR_VERBENA_RESOURCE_EXHAUSTED');
    finish();
    await held;
  });
});

describe('a set-up that is refused for want of room', () => {
  it('is tried again until there is some', async () => {
    server = await startServer({ maxConnections: 1, connectionQueueSize: 0 });
    const holder = await join({});
    const entering = join({ retry: { maxRetries: 1000 } });
    await expect.poll(() => server.stats().noRoom.full).toBe(1);
    await holder.close();
    const client = await entering;
    expect(await client.request(new Uint8Array(3))).toHaveLength(3);
    expect(client.retryCounts.retries).toBeGreaterThan(0);
  });

  it('is given up when it is aborted while it waits', async () => {
    server = await startServer({ maxConnections: 1, connectionQueueSize: 0 });
    await join({});
    const stop = new AbortController();
    const entering = codeOfRejection(join({ retry: true, signal: stop.signal }));
    await expect.poll(() => server.stats().noRoom.full).toBe(1);
    stop.abort();
    expect(await entering).toBe('ERR_VERBENA_ABORTED');
  });
});

it.each([
  ['maxRetries', { maxRetries: 0 }],
  ['maxDelayMs', { maxDelayMs: -1 }],
  ['budgetPercent', { budgetPercent: 101 }],
])('an option %s that is out of range is named', async (name, retry) => {
  server = await startServer();
  await expect(connectTo(server, { retry })).rejects.toMatchObject({
    code: 'ERR_VERBENA_INVALID_OPTION',
    message: expect.stringContaining(`retry.${name}`) as string,
  });
});
