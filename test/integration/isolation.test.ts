// Handlers that go wrong, each in its way: their own request is answered, everybody else's as well,
// and what they held comes back.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MessageType } from '../../src/connection/header.js';
import { RequestError, type Connection, type Server } from '../../src/index.js';
import { timeScale } from '../helpers/environment.js';
import { RawClient, RawEndpoint } from '../helpers/raw-client.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  expectNoSessionObjects,
  expectNothingLeft,
  pattern,
  startServer,
} from '../helpers/verbena.js';

const MEMORY_BYTES = 4_000_000;
/** Goes by rendezvous, and is what a client made by hand takes. */
const LARGE_ANSWER_BYTES = 60_000;

/** Of requests that are to be answered. */
const LONG_MS = 30_000 * timeScale;

const Method = {
  echo: 0,
  throwError: 1,
  throwNothing: 2,
  reject: 3,
  refuse: 4,
  neverSettle: 5,
  allocate: 6,
  allocateAndReturn: 7,
  returnText: 8,
  wait: 9,
  large: 10,
} as const;

let server: Server;
let bystander: Connection;
let client: Connection;
let aborted: Promise<unknown>;
let onAbort: (reason: unknown) => void;
let finish: () => void;
let finished: Promise<void>;

beforeAll(async () => {
  server = await startServer({
    requestTimeoutMs: LONG_MS,
    requestMemoryBytes: MEMORY_BYTES,
    handler: ({ method, payload, signal }) => {
      switch (method) {
        case Method.throwError:
          throw new Error('a secret of the server');
        case Method.throwNothing:
          // eslint-disable-next-line @typescript-eslint/only-throw-error -- handlers do
          throw undefined;
        case Method.reject:
          return Promise.reject(new TypeError('a secret of the server'));
        case Method.refuse:
          throw new RequestError(409, 'not now');
        case Method.neverSettle:
          signal.addEventListener('abort', () => onAbort(signal.reason));
          return new Promise(() => undefined);
        case Method.allocate:
          return new Uint8Array(Number.MAX_SAFE_INTEGER);
        case Method.allocateAndReturn:
          return new Uint8Array(3_000_000);
        case Method.returnText:
          return 'text' as unknown as Uint8Array;
        case Method.wait:
          return finished.then(() => payload);
        case Method.large:
          return new Uint8Array(LARGE_ANSWER_BYTES);
        default:
          return payload;
      }
    },
  });
  bystander = await connectTo(server, { requestTimeoutMs: LONG_MS });
});

beforeEach(async () => {
  aborted = new Promise((resolve) => (onAbort = resolve));
  finished = new Promise((resolve) => (finish = resolve));
  client = await connectTo(server, { maxPayloadBytes: 1_000_000, requestTimeoutMs: LONG_MS });
});

const held = (): number => server.stats().requestQueue.bytes;

afterEach(async () => {
  finish();
  await client.close();
  await expect.poll(() => server.sessions()).toHaveLength(1);
  expect(server.stats().requestQueue).toMatchObject({ pending: 0, bytes: 0 });
});

afterAll(async () => {
  await bystander.close();
  await expectNoSessionObjects(server);
  await server.close();
  expectNothingLeft();
});

/** Requests of the same client and of another, small and large, are served meanwhile. */
async function expectOthersServed(): Promise<void> {
  const others = [client, bystander].flatMap((connection) =>
    [10, 100_000].map(async (length) => {
      expectEqualBytes(await connection.request(pattern(length)), pattern(length));
    }),
  );
  await Promise.all(others);
}

describe('a handler that', () => {
  it.each([
    ['throws', Method.throwError, 'ERR_VERBENA_HANDLER'],
    ['throws nothing in particular', Method.throwNothing, 'ERR_VERBENA_HANDLER'],
    ['rejects', Method.reject, 'ERR_VERBENA_HANDLER'],
    ['refuses', Method.refuse, 'ERR_VERBENA_HANDLER'],
    ['returns what is no answer', Method.returnText, 'ERR_VERBENA_HANDLER'],
    ['asks for more memory than there is', Method.allocate, 'ERR_VERBENA_HANDLER'],
    [
      'returns more than the client takes',
      Method.allocateAndReturn,
      'ERR_VERBENA_PAYLOAD_TOO_LARGE',
    ],
  ])('%s fails its own request, and no other', async (_, method, code) => {
    const requests = [50, 50_000].map((length) => client.request(pattern(length), { method }));
    const failures = requests.map(codeOfRejection);
    await expectOthersServed();
    expect(await Promise.all(failures)).toEqual([code, code]);
    await expectOthersServed();
  });

  it('never settles is told by its signal, and fails its own request', async () => {
    server.reload({ requestTimeoutMs: 50 });
    const impatient = await connectTo(server, { requestTimeoutMs: LONG_MS });
    server.reload({ requestTimeoutMs: LONG_MS });
    const never = { method: Method.neverSettle };
    const failures = [50, 50].map((length) =>
      codeOfRejection(impatient.request(pattern(length), never)),
    );
    await expectOthersServed();
    expect(await aborted).toMatchObject({ code: 'ERR_VERBENA_REQUEST_TIMEOUT' });
    const code = 'ERR_VERBENA_REQUEST_TIMEOUT';
    expect(await Promise.all(failures)).toEqual([code, code]);
    expect(impatient.isOpen).toBe(true);
    await impatient.close();
  });
});

describe('the memory of requests in work', () => {
  it('is counted, and bounded: what comes on top is refused until there is room', async () => {
    const wait = { method: Method.wait };
    const before = server.stats().requestQueue.refused.memory;
    const first = client.request(pattern(3_000_000), wait);
    await expect.poll(held).toBe(3_000_000);
    await expect(bystander.request(pattern(3_000_000))).rejects.toMatchObject({
      code: 'ERR_VERBENA_RESOURCE_EXHAUSTED',
      message: expect.stringContaining('requestMemoryBytes') as string,
      retryAfterMs: expect.any(Number) as number,
    });
    expect(server.stats().requestQueue.refused.memory).toBe(before + 1);
    await expectOthersServed();
    finish();
    // It answers more than this client takes.
    expect(await codeOfRejection(first)).toBe('ERR_VERBENA_PAYLOAD_TOO_LARGE');
    expectEqualBytes(await bystander.request(pattern(3_000_000)), pattern(3_000_000));
  });

  it('lets one request through that is larger than all of it', async () => {
    const payload = pattern(MEMORY_BYTES + 1);
    expectEqualBytes(await bystander.request(payload), payload);
  });

  it('has large answers in it that a client does not fetch, until it is gone', async () => {
    const raw = await RawClient.connect(server);
    const end = await RawEndpoint.open(raw);
    end.endpoint.send(MessageType.proof, 0, 0, 0, end.proof());
    expect((await raw.next()).message.type).toBe('ready');
    // Sixteen are offered; the others wait.
    for (let id = 0; id < 96; id++) end.endpoint.send(MessageType.request, 0, id, Method.large);
    await expect.poll(held).toBeGreaterThan(MEMORY_BYTES);
    expect(await codeOfRejection(bystander.request(pattern(10)))).toBe(
      'ERR_VERBENA_RESOURCE_EXHAUSTED',
    );
    raw.socket.destroy();
    await end.close();
    await expect.poll(held).toBe(0);
    await expectOthersServed();
  });
});
