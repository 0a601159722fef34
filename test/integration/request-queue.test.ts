// Requests over all clients: past the limit each is refused with a code, a reason and a time, and
// every place comes back, however a request ends.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MessageType, RequestStatus } from '../../src/connection/header.js';
import { RequestError, type Connection, type Server, type VerbenaError } from '../../src/index.js';
import { RawClient, RawEndpoint } from '../helpers/raw-client.js';
import {
  connectTo,
  expectNoSessionObjects,
  expectNothingLeft,
  startServer,
} from '../helpers/verbena.js';

const QUEUE_SIZE = 4;
const Method = { echo: 0, wait: 1, throwError: 2, reject: 3 } as const;

let server: Server;
let holder: Connection;
let other: Connection;
/** Ends every handler that waits. */
let finish: () => void;
let finished: Promise<void>;

beforeAll(async () => {
  server = await startServer({
    queueSize: QUEUE_SIZE,
    handler: ({ method, payload }) => {
      if (method === Method.throwError) throw new RequestError(1, 'thrown');
      if (method === Method.reject) return Promise.reject(new RequestError(2, 'rejected'));
      return method === Method.wait ? finished.then(() => payload) : payload;
    },
  });
  other = await connectTo(server);
});

beforeEach(async () => {
  finished = new Promise((resolve) => (finish = resolve));
  holder = await connectTo(server);
});

afterEach(async () => {
  finish();
  await holder.close();
  await expect.poll(() => pending()).toBe(0);
});

afterAll(async () => {
  await other.close();
  await expectNoSessionObjects(server);
  await server.close();
  expectNothingLeft();
});

const payload = new Uint8Array(10);
const pending = (): number => server.stats().requestQueue.pending;
const refusals = (): number => server.stats().requestQueue.refused.queueFull;

/** Takes every place; what becomes of the requests is in `ends`, which never rejects. */
async function fill(
  client: Connection,
  signal?: AbortSignal,
): Promise<{ readonly ends: Promise<unknown[]> }> {
  const requests = Array.from({ length: QUEUE_SIZE }, () =>
    client.request(payload, { method: Method.wait, signal }).catch((error: unknown) => error),
  );
  await expect.poll(() => pending()).toBe(QUEUE_SIZE);
  return { ends: Promise.all(requests) };
}

async function refusalOf(client: Connection): Promise<VerbenaError> {
  return client.request(payload).then(
    () => expect.unreachable('the request was taken'),
    (error: unknown) => error as VerbenaError,
  );
}

interface ErrorAnswer {
  readonly flags: number;
  readonly word: number;
  readonly text: string;
}

/** A client made by hand, which says nothing of what it understands. */
async function rawClient(): Promise<{
  raw: RawEndpoint;
  firstError: Promise<ErrorAnswer>;
  leave: () => Promise<void>;
}> {
  const client = await RawClient.connect(server);
  let received: (answer: ErrorAnswer) => void;
  const firstError = new Promise<ErrorAnswer>((resolve) => (received = resolve));
  const raw = await RawEndpoint.open(client, {
    onMessage: ({ type, flags, word, length }, at) => {
      if (type !== MessageType.error) return;
      const text = Buffer.from(raw.endpoint.bytes.subarray(at, at + length)).toString();
      received({ flags, word, text });
    },
  });
  raw.endpoint.send(MessageType.proof, 0, 0, 0, raw.proof());
  expect((await client.next()).message.type).toBe('ready');
  const leave = async (): Promise<void> => {
    client.socket.destroy();
    await raw.close();
  };
  return { raw, firstError, leave };
}

describe('requests beyond queueSize', () => {
  it('are refused with a code, the reason and a time, and taken once there is room', async () => {
    const before = refusals();
    const { ends } = await fill(holder);
    const refusal = await refusalOf(other);
    expect(refusal.code).toBe('ERR_VERBENA_RESOURCE_EXHAUSTED');
    expect(refusal.message).toContain('queueSize');
    expect(refusal.retryAfterMs).toBeGreaterThan(0);
    expect(refusals()).toBe(before + 1);
    expect(pending()).toBe(QUEUE_SIZE);
    finish();
    expect(await ends).toEqual(Array.from({ length: QUEUE_SIZE }, () => payload));
    expect(await other.request(payload)).toEqual(payload);
  });

  it('are refused when large, too, and the offer is given back', async () => {
    await fill(holder);
    const large = await other.request(new Uint8Array(100_000)).catch((error: unknown) => error);
    expect(large).toMatchObject({ code: 'ERR_VERBENA_RESOURCE_EXHAUSTED' });
    finish();
    expect(await other.request(new Uint8Array(100_000))).toHaveLength(100_000);
  });

  it('are refused in words alone for a client that does not read the time', async () => {
    await fill(holder);
    const { raw, firstError, leave } = await rawClient();
    raw.endpoint.send(MessageType.request, 0, 1, Method.echo, payload);
    expect(await firstError).toEqual({
      flags: 0,
      word: RequestStatus.exhausted,
      text: expect.stringMatching(/^4 requests/) as string,
    });
    await leave();
  });
});

describe('the place of a request comes back', () => {
  it.each([
    ['throws', Method.throwError],
    ['rejects', Method.reject],
    ['answers', Method.echo],
  ])('when the handler %s', async (_, method) => {
    for (let round = 0; round < 3 * QUEUE_SIZE; round++) {
      const answer = await other.request(payload, { method }).catch((error: unknown) => error);
      expect(answer).not.toMatchObject({ code: 'ERR_VERBENA_RESOURCE_EXHAUSTED' });
    }
  });

  it('when the client cancels', async () => {
    const stop = new AbortController();
    const { ends } = await fill(holder, stop.signal);
    stop.abort();
    await ends;
    await expect.poll(() => pending()).toBe(0);
    expect(await other.request(payload)).toEqual(payload);
  });

  it('when the client is gone without a word, although its handlers go on', async () => {
    const { raw, leave } = await rawClient();
    for (let id = 0; id < QUEUE_SIZE; id++) {
      raw.endpoint.send(MessageType.request, 0, id, Method.wait, payload);
    }
    await expect.poll(() => pending()).toBe(QUEUE_SIZE);
    await leave();
    await expect.poll(() => pending()).toBe(0);
    expect(await other.request(payload)).toEqual(payload);
  });
});
