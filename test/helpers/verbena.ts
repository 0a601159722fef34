// Servers and clients for tests, and the proof that nothing of them is left.
import { expect } from 'vitest';
import { makeDevCertificate, type DevCertificate } from '../../src/cli/dev-certificate.js';
import {
  ClientInstancePool,
  connect,
  type ClientInstancePoolOptions,
  type ConnectOptions,
  type Connection,
  type Server,
  type ServerOptions,
} from '../../src/index.js';
import { loadAddon } from '../../src/native/load.js';
import { createServerWith, type ServerSources } from '../../src/server/server.js';
import { testDevice, timeScale } from './environment.js';
import { eventually } from './process.js';

/** The library's own limits count for a machine at full speed, too. */
const limits = { handshakeTimeoutMs: 5000 * timeScale, requestTimeoutMs: 5000 * timeScale };

let certificate: Promise<DevCertificate> | undefined;

/** A busy machine is to be no reason to turn a test's clients away. */
const noShedding = {
  cpuThresholdPercent: 100,
  memoryThresholdPercent: 100,
  queueThresholdPercent: 100,
};

/** One certificate per test file. */
export function testCertificate(): Promise<DevCertificate> {
  certificate ??= makeDevCertificate();
  return certificate;
}

/** An echo server on a free port, unless the options say otherwise. */
export async function startServer(
  options: Partial<ServerOptions> = {},
  sources: ServerSources = {},
): Promise<Server> {
  const { cert, key } = await testCertificate();
  const usual = { device: testDevice, ...limits, ...noShedding, cert, key };
  const handler: ServerOptions['handler'] = ({ payload }) => payload;
  return createServerWith({ ...usual, handler, ...options }, sources);
}

export async function connectTo(
  server: Server,
  options: Partial<ConnectOptions> = {},
): Promise<Connection> {
  const { ca } = await testCertificate();
  const { port } = server.address();
  return connect({ device: testDevice, host: '127.0.0.1', port, ca, ...limits, ...options });
}

export async function poolFor(
  server: Server,
  options: Partial<ClientInstancePoolOptions> = {},
): Promise<ClientInstancePool> {
  const { ca } = await testCertificate();
  const where = { device: testDevice, host: '127.0.0.1', port: server.address().port, ca };
  return new ClientInstancePool({ ...where, ...limits, ...options });
}

/** The code of a rejection; fails when the promise resolves. */
export async function codeOfRejection(promise: Promise<unknown>): Promise<unknown> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(Error);
  return (outcome as { code?: unknown }).code;
}

/** Kinds of the objects that the server's device has open, besides itself and its poll group. */
export function sessionObjects(server: Server): string[] {
  return server
    .snapshot()
    .resources.filter(({ kind }) => kind !== 'device' && kind !== 'pollGroup')
    .map(({ kind, owner }) => `${kind} of ${owner}`);
}

/** Waits until no session and no object of one is left at the server. */
export async function expectNoSessionObjects(server: Server, limitMs = 1000): Promise<void> {
  await eventually(
    () => sessionObjects(server).length === 0 && server.sessions().length === 0,
    limitMs,
    'the release of every session',
  );
}

/** After every server and connection of this process is closed. */
export function expectNothingLeft(): void {
  expect(loadAddon().liveObjects()).toEqual({ pd: 0, cq: 0, qp: 0, mr: 0, device: 0 });
}

/** Bytes with a pattern that shows any shift or swap. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = (seed * 2_654_435_761) >>> 0;
  for (let position = 0; position < length; position++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[position] = state >>> 24;
  }
  return bytes;
}

/** Compares fast; what differs is reported by position. */
export function expectEqualBytes(actual: Uint8Array, wanted: Uint8Array): void {
  if (Buffer.compare(actual, wanted) === 0) return;
  expect(actual.length).toBe(wanted.length);
  const position = actual.findIndex((byte, index) => byte !== wanted[index]);
  throw new Error(
    `byte ${position} is ${String(actual[position])}, not ${String(wanted[position])}`,
  );
}
