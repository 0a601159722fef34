// The set-up of a connection against peers that get it wrong: refused with a code, freed in time,
// the others served.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connectWith, establishWith } from '../../src/client/connect.js';
import { ClientSetup } from '../../src/client/setup.js';
import { MessageType } from '../../src/connection/header.js';
import type { ControlMessage } from '../../src/handshake/messages.js';
import { connect, createServer, type Connection, type Server } from '../../src/index.js';
import { testDevice, timeScale } from '../helpers/environment.js';
import { makeClientCertificate } from '../helpers/client-certificate.js';
import { freePort } from '../helpers/process.js';
import { RawClient, RawEndpoint, plainHello, rawSocket } from '../helpers/raw-client.js';
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

const DEADLINE_MS = 400 * timeScale;

let server: Server;
/** Is served all the while. */
let bystander: Connection;
let objectsOfBystander: string[];

beforeAll(async () => {
  server = await startServer({
    handshakeTimeoutMs: DEADLINE_MS,
    maxConnections: 3,
    connectionQueueSize: 0,
  });
  bystander = await connectTo(server);
  objectsOfBystander = sessionObjects(server);
});

afterEach(async () => {
  await expect.poll(() => sessionObjects(server)).toEqual(objectsOfBystander);
  expect(server.sessions()).toHaveLength(1);
  await expect.poll(() => server.snapshot().pendingHandshakes).toBe(0);
  const payload = pattern(10_000);
  expectEqualBytes(await bystander.request(payload), payload);
});

afterAll(async () => {
  await bystander.close();
  await expectNoSessionObjects(server);
  await server.close();
  expectNothingLeft();
});

const withEndpoint = (fields: object): object => ({
  ...plainHello,
  endpoint: { ...plainHello.endpoint, ...fields },
});

describe('a hello', () => {
  it.each([
    ['of another version', { ...plainHello, version: 2 }, 'UNSUPPORTED_VERSION'],
    ['with a field of the wrong type', { ...plainHello, slots: 'many' }, 'INVALID_MESSAGE'],
    ['without its endpoint', { ...plainHello, endpoint: undefined }, 'INVALID_MESSAGE'],
    ['with a QPN of 25 bits', withEndpoint({ qpn: 2 ** 24 }), 'INVALID_MESSAGE'],
    ['with a PSN of 25 bits', withEndpoint({ psn: 2 ** 24 }), 'INVALID_MESSAGE'],
    ['of a type that nobody knows', { type: 'hullo' }, 'INVALID_MESSAGE'],
    ['that is a bye', { type: 'bye', reason: '' }, 'UNEXPECTED_MESSAGE'],
    ['that is a bye-done', { type: 'bye-done' }, 'UNEXPECTED_MESSAGE'],
  ])('%s is refused', async (_, hello, code) => {
    const client = await RawClient.connect(server);
    client.send(hello);
    expect(await client.refusal()).toMatchObject({ type: 'reject', code });
  });

  it.each([
    ['that is no JSON', Buffer.from('hello'), 'MALFORMED_FRAME'],
    ['that is no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'MALFORMED_FRAME'],
    ['of more than 4 KiB', Buffer.alloc(4097, 0x20), 'FRAME_TOO_LARGE'],
  ])('%s is refused', async (_, body, code) => {
    const client = await RawClient.connect(server);
    client.sendBody(body);
    expect(await client.refusal()).toMatchObject({ type: 'reject', code });
  });

  it.each([
    ['without a body', [0, 0, 0, 0], 'MALFORMED_FRAME'],
    ['of 4 GiB', [255, 255, 255, 255], 'FRAME_TOO_LARGE'],
  ])('%s is refused', async (_, bytes, code) => {
    const client = await RawClient.connect(server);
    client.socket.write(Buffer.from(bytes));
    expect(await client.refusal()).toMatchObject({ type: 'reject', code });
  });

  it('that comes twice is refused, and what the first one got is freed', async () => {
    const client = await RawClient.connect(server);
    client.send(plainHello);
    expect((await client.next()).message.type).toBe('welcome');
    client.send(plainHello);
    expect(await client.refusal()).toMatchObject({ code: 'UNEXPECTED_MESSAGE' });
  });

  it('followed by an oversize frame is refused', async () => {
    const client = await RawClient.connect(server);
    client.send(plainHello);
    await client.next();
    client.socket.write(Buffer.from([0, 0, 0x40, 1]));
    expect(await client.refusal()).toMatchObject({ code: 'FRAME_TOO_LARGE' });
  });

  it('with the packet sequence number of a live session is refused', async () => {
    const client = await RawClient.connect(server);
    client.send(withEndpoint({ psn: bystander.localPsn }));
    expect(await client.refusal()).toMatchObject({ code: 'PSN_IN_USE' });
  });
});

describe('a deadline', () => {
  const expectInTime = (started: number, closed: number): void => {
    expect(closed - started).toBeGreaterThan(DEADLINE_MS - 50);
    expect(closed - started).toBeLessThan(DEADLINE_MS + 300 * timeScale);
  };

  it('ends a TCP connection that says nothing', async () => {
    const started = performance.now();
    const { closed } = await rawSocket(server);
    expectInTime(started, await closed);
  });

  it('ends a TCP connection that stops in the middle of a TLS record', async () => {
    const started = performance.now();
    const { socket, closed } = await rawSocket(server);
    socket.write(Buffer.from([22, 3, 1, 2, 0, 1, 0]));
    expectInTime(started, await closed);
  });

  it('ends a TLS connection that says nothing, with a code', async () => {
    const started = performance.now();
    const client = await RawClient.connect(server);
    expect(await client.refusal()).toMatchObject({ code: 'HANDSHAKE_TIMEOUT' });
    expectInTime(started, await client.closed);
  });

  it('ends a TLS connection that stops in the middle of a frame', async () => {
    const started = performance.now();
    const client = await RawClient.connect(server);
    client.socket.write(Buffer.from([0, 0, 1, 0, 0x7b]));
    expect(await client.refusal()).toMatchObject({ code: 'HANDSHAKE_TIMEOUT' });
    expectInTime(started, await client.closed);
  });

  it('ends a client that was welcomed and proves nothing', async () => {
    const started = performance.now();
    const client = await RawClient.connect(server);
    client.send(plainHello);
    await client.next();
    expect(sessionObjects(server).length).toBeGreaterThan(objectsOfBystander.length);
    expect(await client.refusal()).toMatchObject({ code: 'HANDSHAKE_TIMEOUT' });
    expectInTime(started, await client.closed);
  });

  it('is not put off by keepalives', async () => {
    const started = performance.now();
    const client = await RawClient.connect(server);
    const timer = setInterval(() => client.send({ type: 'keepalive' }), 50);
    expect(await client.refusal()).toMatchObject({ code: 'HANDSHAKE_TIMEOUT' });
    clearInterval(timer);
    expectInTime(started, await client.closed);
  });

  it('does not end what was set up in time', async () => {
    const connection = await connectTo(server);
    await new Promise((resolve) => setTimeout(resolve, DEADLINE_MS + 100));
    expectEqualBytes(await connection.request(pattern(10)), pattern(10));
    await connection.close();
    await expect.poll(() => server.sessions()).toHaveLength(1);
  });
});

describe('a proof', () => {
  it('that is right makes the session', async () => {
    const client = await RawClient.connect(server);
    const raw = await RawEndpoint.open(client);
    raw.endpoint.send(MessageType.proof, 0, 0, 0, raw.proof());
    expect((await client.next()).message.type).toBe('ready');
    client.socket.destroy();
    await raw.close();
  });

  it('that is wrong is refused', async () => {
    const client = await RawClient.connect(server);
    const raw = await RawEndpoint.open(client);
    const proof = raw.proof();
    proof[0] = (proof[0] ?? 0) ^ 1;
    raw.endpoint.send(MessageType.proof, 0, 0, 0, proof);
    expect(await client.refusal()).toMatchObject({ code: 'PROOF_MISMATCH' });
    await raw.close();
  });

  it.each([
    ['a request', MessageType.request],
    ['an offer', MessageType.rendezvous],
  ])('cannot be replaced by %s', async (_, type) => {
    const client = await RawClient.connect(server);
    const raw = await RawEndpoint.open(client);
    raw.endpoint.send(type, 0, 1, 0, raw.proof());
    expect(await client.refusal()).toMatchObject({ code: 'PROOF_MISMATCH' });
    await raw.close();
  });
});

describe('TLS', () => {
  it('without ALPN is refused by our own check', async () => {
    const client = await RawClient.connect(server, { ALPNProtocols: [] });
    expect(await client.refusal()).toMatchObject({ code: 'ALPN_REQUIRED' });
  });

  it.each([
    ['of another protocol', { ALPNProtocols: ['http/1.1'] }],
    ['of version 1.2', { maxVersion: 'TLSv1.2' as const, minVersion: 'TLSv1.2' as const }],
  ])('%s is not established', async (_, options) => {
    await expect(RawClient.connect(server, options)).rejects.toThrow();
  });

  it('with a server that nobody vouches for is refused by the client', async () => {
    const code = await codeOfRejection(connectTo(server, { ca: undefined }));
    expect(code).toBe('ERR_VERBENA_TLS');
    const insecure = await connectTo(server, { ca: undefined, rejectUnauthorized: false });
    expectEqualBytes(await insecure.request(pattern(3)), pattern(3));
    await insecure.close();
    await expect.poll(() => server.sessions()).toHaveLength(1);
  });

  it('with a server of another name is refused by the client', async () => {
    const code = await codeOfRejection(connectTo(server, { servername: 'other.example' }));
    expect(code).toBe('ERR_VERBENA_TLS');
  });

  it('without the certificate that the server asks for is refused', async () => {
    const client = makeClientCertificate('client');
    const stranger = makeClientCertificate('stranger');
    const strict = await startServer({ ca: client.cert, requestCert: true });
    expect(await codeOfRejection(connectTo(strict))).toBe('ERR_VERBENA_TLS');
    await expect(connectTo(strict, stranger)).rejects.toMatchObject({
      code: 'ERR_VERBENA_CONNECT',
      message: expect.stringContaining('client certificates') as string,
    });
    const known = await connectTo(strict, client);
    expectEqualBytes(await known.request(pattern(3)), pattern(3));
    expect(strict.sessions()[0]?.certificate?.subject.CN).toBe('client');
    expect(server.sessions()[0]?.certificate).toBeUndefined();
    await known.close();
    await strict.close();
  });

  it('is never older than 1.3', async () => {
    const client = await RawClient.connect(server);
    expect(client.socket.getProtocol()).toBe('TLSv1.3');
    client.socket.destroy();
  });
});

describe('garbage', () => {
  it('at every stage ends that connection only', async () => {
    for (let round = 0; round < 100; round++) {
      const { socket, closed } = await rawSocket(server);
      socket.write(Buffer.from(pattern(1 + round * 7, round + 1)));
      socket.end();
      await closed;
    }
    for (let round = 0; round < 20; round++) {
      const client = await RawClient.connect(server);
      client.socket.write(Buffer.from(pattern(1 + round * 50, round + 3)));
      client.socket.end();
      await client.closed;
    }
  });
});

describe('capacity', () => {
  it('used up refuses with a code and a time, and takes the next when one left', async () => {
    const others = [await connectTo(server), await connectTo(server)];
    expect(server.capacity).toMatchObject({ clients: 3, limitedBy: 'maxConnections' });
    await expect(connectTo(server)).rejects.toMatchObject({
      code: 'ERR_VERBENA_RESOURCE_EXHAUSTED',
      retryAfterMs: expect.any(Number) as number,
    });
    await others[0]?.close();
    await expect.poll(() => server.sessions()).toHaveLength(2);
    const next = await connectTo(server);
    expectEqualBytes(await next.request(pattern(3)), pattern(3));
    await Promise.all([next.close(), others[1]?.close()]);
    await expect.poll(() => server.sessions()).toHaveLength(1);
  });
});

describe('a client', () => {
  it('draws another packet sequence number when its first is in use', async () => {
    const { ca } = await testCertificate();
    const { port } = server.address();
    const numbers = [bystander.localPsn, bystander.remotePsn, 77];
    const options = { device: testDevice, host: '127.0.0.1', port, ca };
    const connection = await connectWith(options, () => numbers.shift() ?? 0);
    expect(connection.localPsn).toBe(77);
    await connection.close();
    const stubborn = connectWith(options, () => bystander.localPsn);
    expect(await codeOfRejection(stubborn)).toBe('ERR_VERBENA_PSN_IN_USE');
    await expect.poll(() => server.sessions()).toHaveLength(1);
  });

  it('is told that the queue pair of the server broke before it was connected', async () => {
    class Unlucky extends ClientSetup {
      override onControlMessage(message: ControlMessage, raw: Buffer): void {
        const view = { state: 'ERR', status: 'RETRY_EXC_ERR', message: 'no answer' };
        const isReady = message.type === 'ready';
        super.onControlMessage(isReady ? { type: 'qp-error', ...view } : message, raw);
      }
    }
    const { ca } = await testCertificate();
    const { port } = server.address();
    const options = { device: testDevice, host: '127.0.0.1', port, ca };
    await expect(establishWith(options, undefined, Unlucky)).rejects.toMatchObject({
      code: 'ERR_VERBENA_PEER_QP_ERROR',
      wcStatus: 'RETRY_EXC_ERR',
    });
    await expect.poll(() => server.sessions()).toHaveLength(1);
  });

  it('is told when nothing listens', async () => {
    const port = await freePort();
    await expect(connect({ device: testDevice, host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'ERR_VERBENA_CONNECT',
      message: expect.stringContaining('nothing listens') as string,
    });
  });

  it('gives up when told to', async () => {
    const { port } = server.address();
    const options = { device: testDevice, host: '127.0.0.1', port };
    expect(await codeOfRejection(connect({ ...options, signal: AbortSignal.abort() }))).toBe(
      'ERR_VERBENA_ABORTED',
    );
    const controller = new AbortController();
    const attempt = connectTo(server, { signal: controller.signal });
    setImmediate(() => controller.abort());
    expect(await codeOfRejection(attempt)).toBe('ERR_VERBENA_ABORTED');
  });

  it.each([
    ['port', { port: 0 }],
    ['slots', { slots: 0 }],
    ['slotBytes', { slotBytes: 1000 }],
    ['regionBytes', { regionBytes: -1 }],
    ['maxPayloadBytes', { maxPayloadBytes: 0 }],
    ['requestTimeoutMs', { requestTimeoutMs: -5 }],
    ['name', { name: 'n'.repeat(200) }],
  ])('with a wrong %s is told which option it is', async (name, options) => {
    await expect(connectTo(server, options)).rejects.toMatchObject({
      code: 'ERR_VERBENA_INVALID_OPTION',
      message: expect.stringContaining(name) as string,
    });
  });

  it('with an unknown device is told what there is', async () => {
    await expect(connectTo(server, { device: 'mlx9_0' })).rejects.toMatchObject({
      code: 'ERR_VERBENA_UNKNOWN_DEVICE',
      message: expect.stringContaining("'soft'") as string,
    });
  });
});

describe('a server', () => {
  it('on a port in use says so', async () => {
    const { port } = server.address();
    await expect(startServer({ port })).rejects.toMatchObject({
      code: 'ERR_VERBENA_LISTEN',
      message: expect.stringContaining('another server') as string,
    });
  });

  it('on an address of another machine says so', async () => {
    await expect(startServer({ host: '192.0.2.1' })).rejects.toMatchObject({
      code: 'ERR_VERBENA_LISTEN',
      message: expect.stringContaining('no such address') as string,
    });
  });

  it('with a key that is none says so', async () => {
    expect(await codeOfRejection(startServer({ key: 'no key' }))).toBe('ERR_VERBENA_TLS');
  });

  it.each([
    ['port', { port: 70_000 }],
    ['maxConnections', { maxConnections: 0 }],
    ['keepaliveSec', { keepaliveSec: 0 }],
    ['slotBytes', { slotBytes: 100 }],
    ['handler', { handler: undefined as never }],
  ])('with a wrong %s is told which option it is', async (name, options) => {
    await expect(startServer(options)).rejects.toMatchObject({
      code: 'ERR_VERBENA_INVALID_OPTION',
      message: expect.stringContaining(name) as string,
    });
  });

  it('without a certificate says so', async () => {
    const options = { device: testDevice, handler: () => undefined } as never;
    await expect(createServer(options)).rejects.toMatchObject({
      code: 'ERR_VERBENA_INVALID_OPTION',
      message: expect.stringContaining('cert is missing') as string,
    });
  });
});
