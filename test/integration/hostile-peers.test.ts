// Clients that break the protocol after the set-up: their connection ends, with a reason, and
// nothing else does.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MessageType, encodeOffer } from '../../src/connection/header.js';
import type { Connection, Server, VerbenaError } from '../../src/index.js';
import { PostOpcode } from '../../src/native/addon.js';
import { RawClient, RawEndpoint, plainHello, type RawMessage } from '../helpers/raw-client.js';
import {
  connectTo,
  expectEqualBytes,
  expectNothingLeft,
  pattern,
  sessionObjects,
  startServer,
} from '../helpers/verbena.js';

let server: Server;
let bystander: Connection;
let objectsOfBystander: string[];
let client: RawClient;
let raw: RawEndpoint;
let rkey: number;
let reason: Promise<VerbenaError>;

beforeAll(async () => {
  server = await startServer({
    maxPayloadBytes: 1_000_000,
    maxRequestsPerConnection: 4,
    handler: ({ payload, method }) => (method === 1 ? new Promise(() => undefined) : payload),
  });
  bystander = await connectTo(server);
  objectsOfBystander = sessionObjects(server);
});

beforeEach(async () => {
  client = await RawClient.connect(server);
  raw = await RawEndpoint.open(client);
  raw.endpoint.send(MessageType.proof, 0, 0, 0, raw.proof());
  const { message } = await client.next();
  rkey = (message as RawMessage & { region: { rkey: number } }).region.rkey;
  reason = new Promise((resolve) => server.once('sessionEnd', (_, error) => resolve(error)));
});

afterEach(async () => {
  client.socket.destroy();
  await raw.close();
  await expect.poll(() => sessionObjects(server)).toEqual(objectsOfBystander);
  const payload = pattern(50_000);
  expectEqualBytes(await bystander.request(payload), payload);
});

afterAll(async () => {
  await bystander.close();
  await server.close();
  expectNothingLeft();
});

const offer = (length: number, offset = 0): Uint8Array => encodeOffer({ rkey: 1, length, offset });

describe('a message', () => {
  it.each([
    ['of type response', MessageType.response, 0, undefined],
    ['of type error', MessageType.error, 0, undefined],
    ['that is a second proof', MessageType.proof, 0, new Uint8Array(32)],
    ['of the reserved type', 7, 0, undefined],
    ['of a type that nobody knows', 200, 0, undefined],
    ['with a flag that nobody knows', MessageType.request, 0x80, undefined],
    ['that offers a response', MessageType.rendezvous, 1, offer(100)],
    ['that offers nothing', MessageType.rendezvous, 0, offer(0)],
    ['that offers too much', MessageType.rendezvous, 0, offer(1_000_001)],
    ['that offers 4 GiB', MessageType.rendezvous, 0, offer(0xffff_ffff)],
    ['whose offer is short', MessageType.rendezvous, 0, new Uint8Array(15)],
    ['whose offer is long', MessageType.rendezvous, 0, new Uint8Array(17)],
  ])('%s ends its connection', async (_, type, flags, payload) => {
    raw.endpoint.send(type, flags, 1, 0, payload);
    expect((await reason).code).toBe('ERR_VERBENA_PROTOCOL');
    expect((await client.next()).message.type).toBe('qp-error');
  });

  it('that announces more than it carries ends its connection', async () => {
    raw.endpoint.sender.tryAppend(MessageType.request, 0, 1, 0, new Uint8Array(8));
    const { rings } = raw.endpoint;
    const sendRing = 18 * raw.endpoint.slotBytes;
    // The message is still in the send ring: the second SEND of this connection.
    rings.slab.view.setUint32(sendRing + raw.endpoint.slotBytes + 8, 4096, true);
    raw.endpoint.schedule();
    expect((await reason).code).toBe('ERR_VERBENA_PROTOCOL');
  });

  it('that returns credits which were never taken ends its connection', async () => {
    raw.endpoint.sender.tryAppend(MessageType.request, 0, 1, 0, undefined);
    raw.endpoint.sender.flush();
    const sendRing = 18 * raw.endpoint.slotBytes;
    raw.endpoint.view.setUint16(sendRing + raw.endpoint.slotBytes + 2, 1000, true);
    expect((await reason).message).toContain('1000 credits');
  });

  it('with the id of a request in work ends its connection', async () => {
    raw.endpoint.send(MessageType.request, 0, 9, 1);
    raw.endpoint.send(MessageType.request, 0, 9, 1);
    expect((await reason).code).toBe('ERR_VERBENA_PROTOCOL');
  });

  it('that cancels or releases what is not there is too late, not wrong', async () => {
    raw.endpoint.send(MessageType.cancel, 0, 77, 0);
    raw.endpoint.send(MessageType.rendezvousDone, 0, 78, 0);
    const before = server.stats().traffic.responses;
    raw.endpoint.send(MessageType.request, 0, 79, 0);
    await expect.poll(() => server.stats().traffic.responses).toBe(before + 1);
    expect(server.sessions()).toHaveLength(2);
  });
});

describe('a flood', () => {
  it('of requests beyond the window is answered with a refusal for each', async () => {
    const before = server.stats().traffic.requestErrors;
    for (let id = 0; id < 10; id++) raw.endpoint.send(MessageType.request, 0, id, 1);
    await expect.poll(() => server.stats().traffic.requestErrors).toBe(before + 6);
    expect(
      server
        .sessions()
        .map(({ requestsInWork }) => requestsInWork)
        .sort(),
    ).toEqual([0, 4]);
  });
});

describe('an access', () => {
  const write = (remoteOffset: number, length: number, key: number): void => {
    const operation = raw.endpoint.operations.take();
    if (operation === undefined) throw new Error('no operation is free');
    operation.opcode = PostOpcode.write;
    operation.useRegion(raw.endpoint.scratch, 0);
    operation.length = length;
    operation.remoteOffset = remoteOffset;
    operation.rkey = key;
    raw.endpoint.operations.submit(operation);
  };

  it.each([
    ['past the end of the region', 8190, 8],
    ['far outside of the region', 2 ** 40, 8],
    ['that would wrap', 2 ** 53 - 8, 8],
  ])('%s breaks that queue pair only', async (_, offset, length) => {
    write(offset, length, rkey);
    expect((await reason).code).toMatch(/ERR_VERBENA_(PEER_)?QP_ERROR/);
  });

  it('with a key that is guessed breaks that queue pair only', async () => {
    write(0, 8, rkey ^ 1);
    expect((await reason).code).toMatch(/ERR_VERBENA_(PEER_)?QP_ERROR/);
  });

  it('inside of the region works', async () => {
    write(0, 8, rkey);
    await expect.poll(() => raw.endpoint.operations.active).toBe(0);
    expect(server.sessions()).toHaveLength(2);
  });
});

describe('the control channel', () => {
  it.each([
    ['a second hello', plainHello],
    ['a welcome', { type: 'bye-ack' }],
    ['a drain', { type: 'drain', timeoutMs: 1 }],
    ['a bye-done without a bye', { type: 'bye-done' }],
    ['something else', { type: 'something' }],
  ])('with %s ends the connection with a code', async (_, message) => {
    client.send(message);
    expect((await reason).code).toMatch(/ERR_VERBENA_(UNEXPECTED|INVALID)_MESSAGE/);
    expect(await client.refusal()).toMatchObject({ type: 'reject' });
  });

  it('that tells of a failed queue pair ends the connection with both views', async () => {
    client.send({ type: 'qp-error', status: 'RETRY_EXC_ERR', state: 'ERR', message: 'no answer' });
    const error = await reason;
    expect(error).toMatchObject({ code: 'ERR_VERBENA_PEER_QP_ERROR', wcStatus: 'RETRY_EXC_ERR' });
    expect((await client.next()).message).toMatchObject({ type: 'qp-error', state: 'RTS' });
  });

  it('that says bye and never comes back is given up', async () => {
    client.send({ type: 'bye', reason: 'going' });
    expect((await client.next()).message.type).toBe('bye-ack');
    expect((await reason).code).toBe('ERR_VERBENA_CONNECTION_LOST');
  });

  it('that is cut while the queue pair lives ends the connection', async () => {
    client.socket.destroy();
    expect((await reason).code).toBe('ERR_VERBENA_CONNECTION_LOST');
  });
});
