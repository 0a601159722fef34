// A server with no slot left: who waits gets the next one in order, or hears when to come back.
import { afterEach, describe, expect, it } from 'vitest';
import type { Connection, Server, ServerOptions } from '../../src/index.js';
import { timeScale } from '../helpers/environment.js';
import { RawClient, plainHello, rawSocket } from '../helpers/raw-client.js';
import {
  connectTo,
  expectNoSessionObjects,
  expectNothingLeft,
  startServer,
} from '../helpers/verbena.js';

/** Long enough to be waited for by nobody here. */
const LONG_MS = 4000 * timeScale;

let server: Server;
let connections: Connection[] = [];

/** A server whose only slot is taken. */
async function startFull(options: Partial<ServerOptions>): Promise<Connection> {
  server = await startServer({ maxConnections: 1, connectionQueueTimeoutMs: LONG_MS, ...options });
  return join('holder');
}

async function join(name: string): Promise<Connection> {
  const connection = await connectTo(server, { name });
  connections.push(connection);
  return connection;
}

/** A client that says hello and has to wait. */
async function wait(client: RawClient): Promise<void> {
  const before = waiting();
  client.send(plainHello);
  await expect.poll(() => waiting()).toBe(before + 1);
}

const queue = () => server.stats().connectionQueue;
const waiting = (): number => queue().waiting;

afterEach(async () => {
  await Promise.all(connections.map((connection) => connection.close()));
  connections = [];
  await expectNoSessionObjects(server);
  await server.close();
  expectNothingLeft();
});

describe('a client that finds every slot taken', () => {
  it('waits, and is served in the order of the hellos', async () => {
    const holder = await startFull({});
    const served: string[] = [];
    server.on('session', ({ name }) => served.push(name));
    const entering: Promise<void>[] = [];
    for (const name of ['first', 'second', 'third']) {
      const before = waiting();
      entering.push(join(name).then((connection) => connection.close()));
      await expect.poll(() => waiting()).toBe(before + 1);
    }
    await holder.close();
    await Promise.all(entering);
    expect(served).toEqual(['first', 'second', 'third']);
    expect(queue()).toMatchObject({ waiting: 0, served: 3, left: 0, tooLate: 0 });
  });

  it('goes behind those that wait already', async () => {
    await startFull({ connectionQueueSize: 1 });
    const client = await RawClient.connect(server);
    await wait(client);
    await expect(join('another')).rejects.toMatchObject({
      code: 'ERR_VERBENA_RESOURCE_EXHAUSTED',
      message: expect.stringContaining('nobody else can wait') as string,
      retryAfterMs: expect.any(Number) as number,
    });
    expect(server.stats().noRoom).toMatchObject({ full: 1, waited: 0 });
    client.socket.destroy();
    await expect.poll(() => waiting()).toBe(0);
  });

  it('leaves the line at once when it hangs up, and the next one moves up', async () => {
    const holder = await startFull({ connectionQueueSize: 2 });
    const client = await RawClient.connect(server);
    await wait(client);
    const next = join('next');
    await expect.poll(() => waiting()).toBe(2);
    client.socket.destroy();
    await expect.poll(() => waiting()).toBe(1);
    await holder.close();
    expect((await next).isOpen).toBe(true);
    expect(queue()).toMatchObject({ served: 1, left: 1 });
  });

  it('is told when to come back once it has waited long enough', async () => {
    await startFull({ connectionQueueTimeoutMs: 20 });
    await expect(join('late')).rejects.toMatchObject({
      code: 'ERR_VERBENA_RESOURCE_EXHAUSTED',
      message: expect.stringContaining('within 20 ms') as string,
      retryAfterMs: 1000,
    });
    expect(queue()).toMatchObject({ waiting: 0, tooLate: 1 });
  });

  it('is refused when it says hello twice', async () => {
    await startFull({});
    const client = await RawClient.connect(server);
    await wait(client);
    client.send(plainHello);
    expect(await client.refusal()).toMatchObject({ code: 'UNEXPECTED_MESSAGE' });
    expect(waiting()).toBe(0);
  });

  it('is told that the server is about to stop', async () => {
    await startFull({});
    const client = await RawClient.connect(server);
    await wait(client);
    const drained = server.drain();
    expect(await client.refusal()).toMatchObject({ code: 'DRAINING' });
    await drained;
    expect(waiting()).toBe(0);
  });
});

describe('more clients at once than may be in their set-up', () => {
  it('wait for their turn before TLS, and all get it', async () => {
    server = await startServer({ maxPendingHandshakes: 1 });
    await Promise.all(['first', 'second', 'third', 'fourth', 'fifth'].map(join));
    expect(server.stats()).toMatchObject({ accepted: 5, turnedAway: 0 });
  });

  it('are not kept waiting by one that hangs up', async () => {
    server = await startServer({ maxPendingHandshakes: 1, handshakeTimeoutMs: LONG_MS });
    const { socket } = await rawSocket(server);
    await expect.poll(() => server.stats().pendingHandshakes).toBe(1);
    const behind = join('behind');
    await expect.poll(() => server.stats().pendingHandshakes).toBe(2);
    socket.destroy();
    expect((await behind).isOpen).toBe(true);
  });
});

describe('an address that connects more often than it may', () => {
  it('is refused in words, then without, and counted either way', async () => {
    server = await startServer({ connectionRatePerAddress: 1 });
    const joining = Array.from({ length: 10 }, (_, index) => join(`client ${index}`));
    const refusals = (await Promise.allSettled(joining)).flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
    );
    expect(refusals).toContainEqual(
      expect.objectContaining({
        code: 'ERR_VERBENA_RESOURCE_EXHAUSTED',
        message: expect.stringContaining('connectionRatePerAddress') as string,
        retryAfterMs: expect.any(Number) as number,
      }),
    );
    const { noRoom, droppedByRate } = server.stats();
    expect(noRoom.addressRate).toBeGreaterThan(0);
    expect(droppedByRate).toBeGreaterThan(0);
    expect(noRoom.addressRate + droppedByRate).toBe(refusals.length);
  });
});
