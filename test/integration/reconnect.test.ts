// A client that connects again by itself: after what, how often, and what its user sees meanwhile.
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import type { Connection, ReconnectOptions, Server, VerbenaError } from '../../src/index.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  expectNoSessionObjects,
  expectNothingLeft,
  pattern,
  startServer,
} from '../helpers/verbena.js';

afterEach(() => expectNothingLeft());

interface Next {
  readonly attempt: number;
  readonly delayMs: number;
  readonly reason: VerbenaError;
}

async function connectAgain(server: Server, reconnect: boolean | ReconnectOptions) {
  const client = await connectTo(server, { reconnect });
  const announced: Next[] = [];
  client.on('reconnecting', (next) => announced.push(next));
  return { client, announced };
}

const soon = { initialDelayMs: 20, maxDelayMs: 100 };
const gone = (client: Connection): Promise<VerbenaError[]> =>
  once(client, 'close') as Promise<VerbenaError[]>;

describe('a connection that is to be made again', () => {
  it('is another session with numbers of its own once the server closed it', async () => {
    const server = await startServer();
    const { client, announced } = await connectAgain(server, soon);
    const { id, qpn, localPsn } = client;
    await client.write(0, pattern(100));
    const again = once(client, 'reconnect');
    await server.sessions()[0]?.close();
    await again;
    expect(announced).toMatchObject([{ attempt: 1, reason: { code: 'ERR_VERBENA_PEER_CLOSED' } }]);
    expect(client.isOpen).toBe(true);
    expect([client.id, client.qpn, client.localPsn]).not.toEqual([id, qpn, localPsn]);
    expectEqualBytes(await client.read(0, 100), new Uint8Array(100));
    expectEqualBytes(await client.request(pattern(50_000)), pattern(50_000));
    await client.close();
    expect(client.state).toBe('closed');
    await expectNoSessionObjects(server);
    await server.close();
  });

  it('comes back to a server that was restarted, and fails fast meanwhile', async () => {
    const first = await startServer({ handler: () => new Promise<void>(() => undefined) });
    const { port } = first.address();
    const { client, announced } = await connectAgain(first, soon);
    const pending = codeOfRejection(client.request(pattern(10)));
    const broken = once(client, 'reconnecting');
    await first.close();
    expect(await pending).toMatch(/ERR_VERBENA_(PEER_CLOSED|DRAINING)/);
    await broken;
    expect(client.state).toBe('reconnecting');
    expect(await codeOfRejection(client.request(pattern(10)))).toBe('ERR_VERBENA_RECONNECTING');
    expect(await codeOfRejection(client.read(0, 8))).toBe('ERR_VERBENA_RECONNECTING');
    await expect.poll(() => announced.length).toBeGreaterThan(2);
    const again = once(client, 'reconnect');
    const second = await startServer({ port });
    await again;
    expectEqualBytes(await client.request(pattern(10)), pattern(10));
    expect(announced.map(({ attempt }) => attempt)).toEqual(announced.map((_, index) => index + 1));
    for (const { delayMs } of announced) expect(delayMs).toBeLessThanOrEqual(soon.maxDelayMs);
    expect(announced[1]?.reason.code).toBe('ERR_VERBENA_CONNECT');
    await client.close();
    await second.close();
  });

  it('is given up after so many attempts, with the reason of the last', async () => {
    const server = await startServer();
    const { client, announced } = await connectAgain(server, { ...soon, maxAttempts: 2 });
    const closed = gone(client);
    await server.close();
    expect(await closed).toMatchObject([{ code: 'ERR_VERBENA_CONNECT' }]);
    expect(announced).toHaveLength(2);
    expect(client.state).toBe('closed');
    expect(await codeOfRejection(client.request(pattern(1)))).toMatch(/^ERR_VERBENA_/);
    await client.close();
  });

  it('is not, once the user closes it, whenever that is', async () => {
    const server = await startServer();
    const { client, announced } = await connectAgain(server, soon);
    const closed = gone(client);
    await client.close();
    expect(await closed).toMatchObject([{ code: 'ERR_VERBENA_CONNECTION_CLOSED' }]);
    expect(announced).toEqual([]);

    const other = await connectAgain(server, soon);
    const broken = once(other.client, 'reconnecting');
    const otherClosed = gone(other.client);
    await server.close();
    await broken;
    await other.client.close();
    expect(await otherClosed).toMatchObject([{ code: 'ERR_VERBENA_CONNECTION_CLOSED' }]);
    expect(other.client.state).toBe('closed');
  });

  it('waits as long as a full server asks for', async () => {
    const server = await startServer({ maxConnections: 1, connectionQueueSize: 0 });
    const { client, announced } = await connectAgain(server, soon);
    const again = once(client, 'reconnect');
    // Somebody else takes the slot before this client returns.
    const taken = new Promise<Connection>((resolve, reject) => {
      server.once('sessionEnd', () => void connectTo(server).then(resolve, reject));
    });
    await server.sessions()[0]?.close();
    const other = await taken;
    await expect.poll(() => announced.length).toBeGreaterThan(1);
    expect(announced[1]?.reason.code).toBe('ERR_VERBENA_RESOURCE_EXHAUSTED');
    expect(announced[1]?.delayMs).toBeGreaterThanOrEqual(1000);
    await other.close();
    await again;
    await client.close();
    await server.close();
  });

  it.each([
    ['initialDelayMs', { initialDelayMs: 0 }],
    ['maxDelayMs', { maxDelayMs: -1 }],
    ['maxAttempts', { maxAttempts: 1.5 }],
  ])('with a wrong %s is refused before anything is tried', async (name, reconnect) => {
    const server = await startServer();
    await expect(connectTo(server, { reconnect })).rejects.toMatchObject({
      code: 'ERR_VERBENA_INVALID_OPTION',
      message: expect.stringContaining(name) as string,
    });
    expect(server.stats().accepted).toBe(0);
    await server.close();
  });
});
