// Options that change while a server runs: what counts at once, what stays, and that a mistake
// changes nothing.
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeDevCertificate } from '../../src/cli/dev-certificate.js';
import type { LoadReading } from '../../src/admission/load-shedder.js';
import type { Connection, Server } from '../../src/index.js';
import { RawClient } from '../helpers/raw-client.js';
import {
  codeOfRejection,
  connectTo,
  expectNoSessionObjects,
  expectNothingLeft,
  startServer,
  testCertificate,
} from '../helpers/verbena.js';

let server: Server;
let client: Connection;
let read: (reading: LoadReading) => void;

beforeEach(async () => {
  const loadSource = (onReading: typeof read) => {
    read = onReading;
    return () => undefined;
  };
  const limits = { maxConnections: 1, connectionQueueSize: 0, keepaliveSec: 60 };
  server = await startServer(limits, { loadSource });
  client = await connectTo(server, { name: 'first' });
});

afterEach(async () => {
  expect(await client.request(new Uint8Array(5))).toHaveLength(5);
  await client.close();
  await expectNoSessionObjects(server);
  await server.close();
  expect(() => server.reload({})).toThrow(/about to stop/);
  expectNothingLeft();
});

/**
 * Bytes of what a client gets to resume its TLS session with: few, as the server keeps the session,
 * unless its options are forgotten and the session is in a ticket.
 */
async function resumptionBytes(ca: string): Promise<number | undefined> {
  const raw = await RawClient.connect(server, { ca });
  const offered = once(raw.socket, 'session');
  raw.send({ type: 'no such thing' });
  expect(await raw.refusal()).toMatchObject({ code: 'INVALID_MESSAGE' });
  await offered;
  return raw.socket.getTLSTicket()?.length;
}

describe('limits', () => {
  it('of clients count at once, for those that wait, too', async () => {
    server.reload({ connectionQueueSize: 1, connectionQueueTimeoutMs: 60_000 });
    const waiting = connectTo(server, { name: 'second' });
    await expect.poll(() => server.stats().connectionQueue.waiting).toBe(1);
    expect(server.reload({ maxConnections: 2 })).toEqual({
      changed: ['maxConnections'],
      needsRestart: [],
    });
    await (await waiting).close();
    await expect.poll(() => server.sessions()).toHaveLength(1);
    expect(server.capacity).toMatchObject({ clients: 2, limitedBy: 'maxConnections' });
    server.reload({ maxConnections: 1, connectionQueueSize: 0 });
    expect(await codeOfRejection(connectTo(server))).toBe('ERR_VERBENA_RESOURCE_EXHAUSTED');
  });

  it('of addresses, requests and load count at once', async () => {
    server.reload({ queueSize: 7, cpuThresholdPercent: 50, connectionRatePerAddress: 1 });
    expect(server.stats().requestQueue.queueSize).toBe(7);
    read({ cpu: 60, memory: 0, queue: 0 });
    expect(server.stats().loadShedding.reasons).toEqual(['cpu']);
    const joining = Array.from({ length: 4 }, () => codeOfRejection(connectTo(server)));
    expect(await Promise.all(joining)).toContain('ERR_VERBENA_RESOURCE_EXHAUSTED');
    const { noRoom } = server.stats();
    expect([noRoom.shedding > 0, noRoom.addressRate > 0]).toEqual([true, true]);
  });

  it('that a session was granted stay, and newcomers get the new ones', async () => {
    server.reload({ maxConnections: 2, maxPayloadBytes: 1000, keepaliveSec: 30 });
    const second = await connectTo(server, { name: 'second' });
    expect([client.maxPayloadBytes, second.maxPayloadBytes]).toEqual([64 * 2 ** 20, 1000]);
    expect(await codeOfRejection(second.request(new Uint8Array(2000)))).toBe(
      'ERR_VERBENA_PAYLOAD_TOO_LARGE',
    );
    expect(await client.request(new Uint8Array(2000))).toHaveLength(2000);
    await second.close();
  });

  it('that are undefined go back to the default', () => {
    server.reload({ maxRegisteredBytes: 2 ** 30, queueSize: 5 });
    const result = server.reload({ maxRegisteredBytes: undefined, queueSize: undefined });
    expect(result.changed.toSorted()).toEqual(['maxRegisteredBytes', 'queueSize']);
    expect(server.stats().requestQueue.queueSize).toBe(1000);
  });
});

describe('certificates', () => {
  it('are new for newcomers, with all that TLS was told before', async () => {
    server.reload({ maxConnections: 2 });
    const before = await resumptionBytes((await testCertificate()).ca);
    const { ca, cert, key } = await makeDevCertificate();
    expect(server.reload({ cert, key }).changed).toEqual(['cert', 'key']);
    expect(await codeOfRejection(connectTo(server))).toBe('ERR_VERBENA_TLS');
    await (await connectTo(server, { ca })).close();
    const old = { ca, minVersion: 'TLSv1.2' as const, maxVersion: 'TLSv1.2' as const };
    await expect(RawClient.connect(server, old)).rejects.toThrow();
    expect(await resumptionBytes(ca)).toBe(before);
  });

  it('that are unusable change nothing, whatever else there was', async () => {
    const { key } = await makeDevCertificate();
    const wrong = { key, queueSize: 5, maxConnections: 3 };
    expect(() => server.reload(wrong)).toThrow(/certificate or the key is not usable/);
    expect(server.capacity.clients).toBe(1);
    expect(server.stats().requestQueue.queueSize).toBe(1000);
    server.reload({ maxConnections: 2 });
    await (await connectTo(server)).close();
  });
});

describe('what cannot be', () => {
  it.each([
    ['a value out of range', { queueSize: 0, maxConnections: 5 }, 'queueSize'],
    ['no room for anybody', { maxRegisteredBytes: 1, queueSize: 5 }, 'no room'],
  ])('%s changes nothing and is named', (_, changes, name) => {
    expect(() => server.reload(changes)).toThrow(name);
    expect(server.capacity.clients).toBe(1);
    expect(server.stats().requestQueue.queueSize).toBe(1000);
  });

  it('needs another start, and says so beside what changed', () => {
    const { port } = server.address();
    const result = server.reload({ port: port + 1, host: '127.0.0.9', queueSize: 6 });
    expect(result).toEqual({ changed: ['queueSize'], needsRestart: ['host', 'port'] });
    expect(server.address().port).toBe(port);
    expect(server.reload({ requestCert: true }).needsRestart).toEqual(['requestCert']);
  });
});
