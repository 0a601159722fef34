// The metrics of a server against what its clients really did.
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MessageType } from '../../src/connection/header.js';
import {
  RequestError,
  createMetrics,
  type Connection,
  type Metrics,
  type Server,
  type ServerOptions,
} from '../../src/index.js';
import { declaredMetrics, parseMetrics, type Samples } from '../helpers/metrics.js';
import { RawClient, RawEndpoint } from '../helpers/raw-client.js';
import {
  codeOfRejection,
  connectTo,
  expectNoSessionObjects,
  expectNothingLeft,
  pattern,
  startServer,
} from '../helpers/verbena.js';

/** What the handler does for each method. */
const Method = { echo: 0, refuse: 1, throws: 2, hold: 3, never: 4, slow: 5, compute: 6 } as const;
const MAX_REQUESTS = 4;

let server: Server;
let metrics: Metrics;
let release: () => void;

async function start(options: Partial<ServerOptions> = {}): Promise<void> {
  const held = new Promise<void>((resolve) => (release = resolve));
  server = await startServer({
    maxRequestsPerConnection: MAX_REQUESTS,
    handler: async ({ payload, method }) => {
      if (method === Method.refuse) throw new RequestError(7, 'not today');
      if (method === Method.throws) throw new Error('a bug');
      if (method === Method.hold) await held;
      if (method === Method.slow) await delay(60);
      if (method === Method.compute)
        for (const end = performance.now() + 60; performance.now() < end;);
      if (method === Method.never) await new Promise(() => undefined);
      return payload;
    },
    ...options,
  });
  metrics = await createMetrics(server);
}

const scrape = async (): Promise<Samples> => parseMetrics(await metrics.text());

async function clients(count: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: count }, () => connectTo(server)));
}

/** Waits for a sample to become what is wanted; for what the server learns a moment later. */
const expectSample = (name: string, wanted: number): Promise<void> =>
  expect.poll(async () => (await scrape())[name], { message: `${name} is ${wanted}` }).toBe(wanted);

beforeEach(() => start());
afterEach(async () => {
  release();
  await server.close();
});
afterAll(expectNothingLeft);

describe('connections', () => {
  it('are counted when they come, while they stay and when they go', async () => {
    const three = await clients(3);
    const before = await scrape();
    expect(before['verbena_connections_accepted_total']).toBe(3);
    expect(before['verbena_connections_active']).toBe(3);
    expect(before['verbena_connection_pool_utilization']).toBe(3 / server.capacity.clients);
    expect(before['verbena_connections_limit']).toBe(server.capacity.clients);
    await three[0]?.close();
    await expectSample('verbena_connections_active', 2);
    const after = await scrape();
    expect(after['verbena_connections_accepted_total']).toBe(3);
    expect(after['verbena_connections_closed_total{reason="peer_closed"}']).toBe(1);
    await Promise.all(three.map((each) => each.close()));
  });

  it('that are rejected are counted by reason', async () => {
    await server.close();
    await start({ maxConnections: 1, connectionQueueSize: 0 });
    const [only] = await clients(1);
    expect(await codeOfRejection(connectTo(server))).toBe('ERR_VERBENA_RESOURCE_EXHAUSTED');
    expect(await codeOfRejection(connectTo(server))).toBe('ERR_VERBENA_RESOURCE_EXHAUSTED');
    await expectSample('verbena_connections_rejected_total{reason="all_taken"}', 2);
    const samples = await scrape();
    expect(samples['verbena_connections_accepted_total']).toBe(1);
    expect(samples['verbena_handshake_failures_total{cause="resource_exhausted"}']).toBeUndefined();
    await only?.close();
  });

  it('that find too many others in their set-up are counted too', async () => {
    await server.close();
    await start({ maxPendingHandshakes: 1 });
    const { port } = server.address();
    const open = async (): Promise<Socket> => {
      const socket = connectTcp(port, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    };
    // One has its turn, four wait for theirs.
    const taken: Socket[] = [];
    for (let count = 1; count <= 5; count++) {
      taken.push(await open());
      await expectSample('verbena_handshakes_pending', count);
    }
    const oneMore = await open();
    await once(oneMore, 'close');
    const samples = await scrape();
    expect(samples['verbena_connections_rejected_total{reason="too_many_handshakes"}']).toBe(1);
    for (const socket of taken) socket.destroy();
    await expectSample('verbena_handshakes_pending', 0);
  });

  it('that say nothing until their time is over are failures of TLS', async () => {
    await server.close();
    await start({ handshakeTimeoutMs: 50 });
    const socket = connectTcp(server.address().port, '127.0.0.1');
    await once(socket, 'close');
    await expectSample('verbena_handshake_failures_total{cause="tls"}', 1);
    await expectSample('verbena_handshakes_pending', 0);
  });

  it('have the time of their set-up in a histogram', async () => {
    const two = await clients(2);
    const samples = await scrape();
    expect(samples['verbena_handshake_duration_seconds_count']).toBe(2);
    expect(samples['verbena_handshake_duration_seconds_bucket{le="+Inf"}']).toBe(2);
    expect(samples['verbena_handshake_duration_seconds_sum']).toBeGreaterThan(0.000_1);
    await Promise.all(two.map((each) => each.close()));
  });

  it('that break the protocol are failures of their queue pair', async () => {
    const client = await RawClient.connect(server);
    const raw = await RawEndpoint.open(client);
    raw.endpoint.send(MessageType.proof, 0, 0, 0, raw.proof());
    await client.next();
    raw.endpoint.send(MessageType.response, 0, 1, 0);
    await expectSample('verbena_queue_pair_failures_total{cause="protocol"}', 1);
    client.socket.destroy();
    await raw.close();
    await expectNoSessionObjects(server);
  });
});

describe('requests', () => {
  it('are counted by result, each once', async () => {
    const [client] = await clients(1);
    const ask = (method: number): Promise<unknown> =>
      client?.request(pattern(100), { method }) ?? Promise.resolve();
    for (let each = 0; each < 7; each++) await ask(Method.echo);
    for (let each = 0; each < 3; each++) await codeOfRejection(ask(Method.refuse));
    for (let each = 0; each < 2; each++) await codeOfRejection(ask(Method.throws));
    await client?.request(pattern(100_000));
    const cancelled = client?.request(pattern(1), {
      method: Method.never,
      signal: AbortSignal.timeout(10),
    });
    await cancelled?.catch(() => undefined);
    await expectSample('verbena_requests_total{result="cancelled"}', 1);
    const samples = await scrape();
    expect(samples['verbena_requests_total{result="ok"}']).toBe(8);
    expect(samples['verbena_requests_total{result="application_error"}']).toBe(3);
    expect(samples['verbena_requests_total{result="handler_failed"}']).toBe(2);
    expect(samples['verbena_requests_in_flight']).toBe(0);
    expect(samples['verbena_request_duration_seconds_count']).toBe(14);
    expect(samples['verbena_pulled_bytes_total']).toBe(100_000);
    expect(samples['verbena_offers_total']).toBe(1);
    await client?.close();
  });

  it('beyond the limit of a connection are rejected, and counted so', async () => {
    const client = await RawClient.connect(server);
    const raw = await RawEndpoint.open(client);
    raw.endpoint.send(MessageType.proof, 0, 0, 0, raw.proof());
    await client.next();
    for (let id = 0; id < 10; id++) raw.endpoint.send(MessageType.request, 0, id, Method.hold);
    await expectSample('verbena_requests_rejected_total{reason="connection_limit"}', 6);
    const samples = await scrape();
    expect(samples['verbena_requests_in_flight']).toBe(MAX_REQUESTS);
    expect(samples['verbena_requests_total{result="rejected"}']).toBe(6);
    client.socket.destroy();
    await expectSample('verbena_requests_total{result="abandoned"}', MAX_REQUESTS);
    expect((await scrape())['verbena_requests_in_flight']).toBe(0);
    await raw.close();
    await expectNoSessionObjects(server);
  });

  it('have the time of their handler in a histogram', async () => {
    const [client] = await clients(1);
    await client?.request(pattern(10), { method: Method.slow });
    const samples = await scrape();
    expect(samples['verbena_request_duration_seconds_bucket{le="0.05"}']).toBe(0);
    expect(samples['verbena_request_duration_seconds_bucket{le="10"}']).toBe(1);
    expect(samples['verbena_request_duration_seconds_sum']).toBeGreaterThan(0.05);
    await client?.close();
  });

  it('have the time that others kept them from their handler in another', async () => {
    const [client] = await clients(1);
    const ask = () => client?.request(pattern(10), { method: Method.compute });
    // They arrive together, and the second is taken when the first is done.
    await Promise.all([ask(), ask()]);
    const samples = await scrape();
    expect(samples['verbena_request_start_delay_seconds_count']).toBe(2);
    expect(samples['verbena_request_start_delay_seconds_sum']).toBeGreaterThan(0.05);
    expect(samples['verbena_request_start_delay_seconds_bucket{le="0.05"}']).toBeLessThan(2);
    await client?.close();
  });

  it('that time out are counted', async () => {
    await server.close();
    await start({ requestTimeoutMs: 20 });
    const [client] = await clients(1);
    const never = client?.request(pattern(10), { method: Method.never }) ?? Promise.resolve();
    expect(await codeOfRejection(never)).toBe('ERR_VERBENA_REQUEST_TIMEOUT');
    expect((await scrape())['verbena_requests_total{result="timed_out"}']).toBe(1);
    await client?.close();
  });

  it('whose answers find no credits stall sending, once for each time', async () => {
    await server.close();
    await start({ slots: 2 });
    const [client] = await clients(1);
    const send = (): Promise<unknown>[] =>
      Array.from({ length: MAX_REQUESTS }, () =>
        Promise.resolve(client?.request(pattern(4000), { method: Method.hold })),
      );
    const answers = send();
    await expectSample('verbena_requests_in_flight', MAX_REQUESTS);
    expect((await scrape())['verbena_credit_stalls_total']).toBe(0);
    release();
    await Promise.all(answers);
    expect((await scrape())['verbena_credit_stalls_total']).toBeGreaterThan(0);
    await client?.close();
  });
});

describe('resources', () => {
  it('are what the registry has, and gone with their clients', async () => {
    const two = await clients(2);
    const samples = await scrape();
    const { resources } = server.snapshot();
    for (const kind of ['qp', 'cq', 'mr', 'pd']) {
      const open = resources.filter((each) => each.kind === kind).length;
      // Both ends are in this process.
      expect(open).toBeGreaterThanOrEqual(4);
      expect(samples[`verbena_resources{kind="${kind}"}`]).toBe(open);
    }
    expect(samples['verbena_registered_bytes']).toBe(server.snapshot().registeredBytes);
    expect(samples['verbena_registered_bytes']).toBeGreaterThan(0);
    await Promise.all(two.map((each) => each.close()));
    await expectNoSessionObjects(server);
    const after = await scrape();
    expect(after['verbena_resources{kind="qp"}']).toBe(0);
    expect(after['verbena_registered_bytes']).toBe(0);
  });

  it("include the device's own counters, which move with the traffic", async () => {
    const counters = async (): Promise<Samples> => {
      const entries = Object.entries(await scrape());
      return Object.fromEntries(entries.filter(([name]) => name.startsWith('verbena_device_c')));
    };
    const before = await counters();
    const [client] = await clients(1);
    for (let each = 0; each < 20; each++) await client?.request(pattern(3000));
    const after = await counters();
    const grown = Object.keys(after).filter((name) => (after[name] ?? 0) > (before[name] ?? 0));
    expect(grown.length).toBeGreaterThan(0);
    await client?.close();
  });
});

describe('the text', () => {
  it('declares each metric once, and has no label for a client', async () => {
    const [client] = await clients(1);
    const text = await metrics.text();
    const names = declaredMetrics(text);
    expect(names).toEqual([...new Set(names)]);
    expect(names.every((name) => /^(verbena|process|nodejs)_[a-z0-9_]+$/.test(name))).toBe(true);
    const id = server.sessions()[0]?.id ?? 0;
    expect(text).not.toContain(String(id));
    await client?.close();
  });

  it('can still be had when the server is closed', async () => {
    await server.close();
    const samples = await scrape();
    expect(samples['verbena_draining']).toBe(1);
    expect(samples['verbena_resources{kind="device"}']).toBe(0);
  });
});
