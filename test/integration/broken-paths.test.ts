// A connection has two paths, TLS and the queue pair: one breaks while the other lives.
import { once } from 'node:events';
import { createServer as createTcpServer, connect as tcpConnect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Connection, Server, VerbenaError } from '../../src/index.js';
import type { NativeQueuePair } from '../../src/native/addon.js';
import { acquireDevice, type DeviceLease } from '../../src/rdma/device.js';
import { testDevice, timeScale } from '../helpers/environment.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  expectNoSessionObjects,
  expectNothingLeft,
  pattern,
  startServer,
} from '../helpers/verbena.js';

const PROMPT_MS = 1000 * timeScale;

let lease: DeviceLease;
let server: Server;
let bystander: Connection;
const ended: VerbenaError[] = [];

beforeAll(async () => {
  lease = acquireDevice({ device: testDevice });
  server = await startServer({
    handler: ({ payload, signal, method }) =>
      method === 0
        ? payload
        : new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve())),
  });
  server.on('sessionEnd', (_, reason) => ended.push(reason));
  bystander = await connectTo(server);
});

afterEach(async () => {
  await expect.poll(() => server.sessions(), { timeout: PROMPT_MS }).toHaveLength(1);
  expectEqualBytes(await bystander.request(pattern(9000)), pattern(9000));
  ended.length = 0;
});

afterAll(async () => {
  await bystander.close();
  await expectNoSessionObjects(server);
  await server.close();
  lease.release();
  expectNothingLeft();
});

const endOf = (connection: Connection): Promise<VerbenaError> =>
  new Promise((resolve) => connection.once('close', resolve));

/** Queue pairs that are made while `body` runs: the client's and the server's. */
async function queuePairsMadeBy<T>(
  body: () => Promise<T>,
): Promise<{ result: T; made: NativeQueuePair[] }> {
  const { group } = lease.device;
  const made: NativeQueuePair[] = [];
  const createQp = group.createQp.bind(group);
  group.createQp = (options) => {
    const qp = createQp(options);
    made.push(qp);
    return qp;
  };
  try {
    return { result: await body(), made };
  } finally {
    Reflect.deleteProperty(group, 'createQp');
  }
}

/** Passes TCP on to the server until it is cut. */
async function proxyTo(port: number): Promise<{ port: number; cut: () => void }> {
  const sockets: Socket[] = [];
  const proxy = createTcpServer((socket) => {
    const onward = tcpConnect(port, '127.0.0.1');
    sockets.push(socket, onward);
    for (const each of [socket, onward]) each.on('error', () => undefined);
    socket.pipe(onward).pipe(socket);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const address = proxy.address();
  return {
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    cut: () => {
      proxy.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

describe('TLS that is cut while the queue pair lives', () => {
  it('ends the session on both sides at once, with what was pending', async () => {
    const proxy = await proxyTo(server.address().port);
    const client = await connectTo(server, { port: proxy.port });
    const closed = endOf(client);
    const pending = codeOfRejection(client.request(pattern(10), { method: 1 }));
    await expect.poll(() => server.sessions().some((each) => each.requestsInWork > 0)).toBe(true);
    const started = performance.now();
    proxy.cut();
    expect((await closed).code).toBe('ERR_VERBENA_CONNECTION_LOST');
    expect(await pending).toBe('ERR_VERBENA_CONNECTION_LOST');
    await expect.poll(() => ended).toHaveLength(1);
    expect(ended[0]?.code).toBe('ERR_VERBENA_CONNECTION_LOST');
    expect(performance.now() - started).toBeLessThan(PROMPT_MS);
  });
});

describe('a queue pair that fails while TLS lives', () => {
  it('at the client tells both sides which one failed and how the other is', async () => {
    const { result: client, made } = await queuePairsMadeBy(() => connectTo(server));
    const closed = endOf(client);
    const pending = codeOfRejection(client.request(pattern(10), { method: 1 }));
    made[0]?.modify({ state: 'ERR' });
    const { code, message } = await closed;
    expect(code).toBe('ERR_VERBENA_QP_ERROR');
    expect(message).toMatch(/the peer is alive and its queue pair works \(state RTS\)/);
    expect(await pending).toBe('ERR_VERBENA_QP_ERROR');
    await expect.poll(() => ended).toHaveLength(1);
    expect(ended[0]).toMatchObject({ code: 'ERR_VERBENA_PEER_QP_ERROR' });
    expect(ended[0]?.message).toMatch(/WR_FLUSH_ERR, state ERR/);
  });

  it("at the server is the peer's for the client, which waits for no timeout", async () => {
    const { result: client, made } = await queuePairsMadeBy(() => connectTo(server));
    const closed = endOf(client);
    const started = performance.now();
    made[1]?.modify({ state: 'ERR' });
    const { code, message } = await closed;
    expect(code).toBe('ERR_VERBENA_PEER_QP_ERROR');
    expect(message).toMatch(/the peer's queue pair failed \(WR_FLUSH_ERR, state ERR\)/);
    expect(performance.now() - started).toBeLessThan(PROMPT_MS);
    await expect.poll(() => ended).toHaveLength(1);
    expect(ended[0]).toMatchObject({ code: 'ERR_VERBENA_QP_ERROR' });
  });
});
