// Requests and responses: every size, every failure, and the connection that survives it.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { RequestError, type Connection, type Server } from '../../src/index.js';
import { timeScale } from '../helpers/environment.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  expectNoSessionObjects,
  expectNothingLeft,
  pattern,
  startServer,
} from '../helpers/verbena.js';

const MAX = 8 * 1024 * 1024;
const SLOT = 4160;
const LARGEST_EAGER = SLOT - 16;

const Method = {
  echo: 0,
  size: 1,
  fail: 2,
  failWithStatus: 3,
  hang: 4,
  wrong: 5,
  count: 6,
} as const;

let server: Server;
let client: Connection;
const aborted: unknown[] = [];
const handlerErrors: unknown[] = [];
let counted = 0;

beforeAll(async () => {
  server = await startServer({
    maxPayloadBytes: MAX,
    handler: async ({ payload, method, signal }) => {
      switch (method) {
        case Method.size:
          return pattern(new DataView(payload.buffer, payload.byteOffset).getUint32(0), 2);
        case Method.fail:
          throw new Error('a secret of the server');
        case Method.failWithStatus:
          throw new RequestError(404, 'no such thing');
        case Method.hang:
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          aborted.push(signal.reason);
          return undefined;
        case Method.wrong:
          return 'text' as unknown as Uint8Array;
        case Method.count:
          counted++;
          return undefined;
        default:
          return payload;
      }
    },
  });
  server.on('requestError', (_, error) => handlerErrors.push(error));
  client = await connectTo(server, { maxPayloadBytes: MAX });
});

afterAll(async () => {
  await client.close();
  await expectNoSessionObjects(server);
  await server.close();
  expectNothingLeft();
});

// Whatever a test did to a request, the connection must serve the next one.
afterEach(async () => {
  const payload = pattern(100, 9);
  expectEqualBytes(await client.request(payload), payload);
});

function sized(length: number): Uint8Array {
  const payload = new Uint8Array(4);
  new DataView(payload.buffer).setUint32(0, length);
  return payload;
}

const sizes = [
  0,
  1,
  15,
  16,
  17,
  ...[204, 220].flatMap((inline) => [inline - 1, inline, inline + 1]),
  ...[1024, 2048, LARGEST_EAGER, SLOT, 65_536, 512 * 1024, 1024 * 1024].flatMap((edge) => [
    edge - 1,
    edge,
    edge + 1,
  ]),
  MAX - 1,
  MAX,
];

describe('a request', () => {
  it.each(sizes)('of %i bytes is echoed', async (length) => {
    const payload = pattern(length, length + 1);
    expectEqualBytes(await client.request(payload), payload);
  });

  it.each(sizes)('is answered with %i bytes', async (length) => {
    const response = await client.request(sized(length), { method: Method.size });
    expectEqualBytes(response, pattern(length, 2));
  });

  it('of 4 KiB is one message, with nothing to be registered and read', async () => {
    const before = client.traffic.messagesSent;
    expectEqualBytes(await client.request(pattern(4096)), pattern(4096));
    expect(client.traffic.messagesSent - before).toBe(1);
  });

  it('over the maximum fails at the client, and nothing is sent', async () => {
    const { requests } = server.stats().traffic;
    const code = await codeOfRejection(client.request(new Uint8Array(MAX + 1)));
    expect(code).toBe('ERR_VERBENA_PAYLOAD_TOO_LARGE');
    expect(server.stats().traffic.requests).toBe(requests);
  });

  it('whose response is over the maximum fails, and the connection stays', async () => {
    const request = client.request(sized(MAX + 1), { method: Method.size });
    expect(await codeOfRejection(request)).toBe('ERR_VERBENA_PAYLOAD_TOO_LARGE');
  });

  it('may be answered with nothing', async () => {
    expect(await client.request(new Uint8Array(3), { method: Method.count })).toHaveLength(0);
    expect(counted).toBe(1);
  });

  it('that makes the handler throw tells the server all and the client nothing', async () => {
    const error = await client
      .request(new Uint8Array(0), { method: Method.fail })
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'ERR_VERBENA_HANDLER', status: undefined });
    expect(String(error)).not.toContain('secret');
    expect(handlerErrors.pop()).toMatchObject({ message: 'a secret of the server' });
  });

  it('that makes the handler choose a status carries it to the client', async () => {
    const request = client.request(new Uint8Array(0), { method: Method.failWithStatus });
    await expect(request).rejects.toMatchObject({
      code: 'ERR_VERBENA_HANDLER',
      status: 404,
      message: 'no such thing',
    });
  });

  it('whose handler returns no bytes fails', async () => {
    const request = client.request(new Uint8Array(0), { method: Method.wrong });
    expect(await codeOfRejection(request)).toBe('ERR_VERBENA_HANDLER');
    expect(handlerErrors.pop()).toBeInstanceOf(TypeError);
  });

  it.each([
    ['text', () => client.request('text' as unknown as Uint8Array)],
    ['a negative method', () => client.request(new Uint8Array(0), { method: -1 })],
    ['a method of 33 bits', () => client.request(new Uint8Array(0), { method: 2 ** 32 })],
    ['no time', () => client.request(new Uint8Array(0), { timeoutMs: 0 })],
    ['NaN as time', () => client.request(new Uint8Array(0), { timeoutMs: NaN })],
  ])('with %s is refused', async (_, request) => {
    expect(await codeOfRejection(request())).toBe('ERR_VERBENA_INVALID_OPTION');
  });

  it('carries a method of 32 bits', async () => {
    const payload = pattern(5);
    expectEqualBytes(await client.request(payload, { method: 0xffff_ffff }), payload);
  });

  it('owns its response: later traffic does not change it', async () => {
    const first = await client.request(pattern(1000, 3));
    const large = await client.request(pattern(200_000, 4));
    await Promise.all(Array.from({ length: 50 }, () => client.request(new Uint8Array(3000))));
    await client.request(new Uint8Array(200_000));
    expectEqualBytes(first, pattern(1000, 3));
    expectEqualBytes(large, pattern(200_000, 4));
  });
});

describe('time', () => {
  it('runs out at the client, and the handler is told', async () => {
    aborted.length = 0;
    const started = performance.now();
    const request = client.request(new Uint8Array(0), { method: Method.hang, timeoutMs: 50 });
    expect(await codeOfRejection(request)).toBe('ERR_VERBENA_REQUEST_TIMEOUT');
    expect(performance.now() - started).toBeGreaterThanOrEqual(49);
    await expect.poll(() => aborted).toHaveLength(1);
    expect(aborted[0]).toMatchObject({ code: 'ERR_VERBENA_ABORTED' });
  });

  it('runs out at the server too', async () => {
    const other = await startServer({
      requestTimeoutMs: 50,
      handler: async ({ signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return undefined;
      },
    });
    const connection = await connectTo(other);
    const request = connection.request(new Uint8Array(0));
    await expect(request).rejects.toMatchObject({
      code: 'ERR_VERBENA_REQUEST_TIMEOUT',
      message: expect.stringContaining('the server gave') as string,
    });
    await connection.close();
    await other.close();
  });

  it('of many requests runs out for each by itself', async () => {
    const limits = [30, 90, 60, 10, 120];
    const started = performance.now();
    const times = await Promise.all(
      limits.map(async (timeoutMs) => {
        const request = client.request(new Uint8Array(0), { method: Method.hang, timeoutMs });
        expect(await codeOfRejection(request)).toBe('ERR_VERBENA_REQUEST_TIMEOUT');
        return performance.now() - started;
      }),
    );
    for (const [position, limit] of limits.entries()) {
      expect(times[position]).toBeGreaterThanOrEqual(limit - 1);
    }
  });
});

describe('an AbortSignal', () => {
  it('ends a request, tells the handler, and keeps its reason', async () => {
    aborted.length = 0;
    const controller = new AbortController();
    const request = client.request(new Uint8Array(0), {
      method: Method.hang,
      signal: controller.signal,
    });
    setTimeout(() => controller.abort('enough'), 20);
    await expect(request).rejects.toMatchObject({ code: 'ERR_VERBENA_ABORTED', cause: 'enough' });
    await expect.poll(() => aborted).toHaveLength(1);
  });

  it('that was aborted before sends nothing', async () => {
    const { requests } = server.stats().traffic;
    const signal = AbortSignal.abort();
    expect(await codeOfRejection(client.request(new Uint8Array(0), { signal }))).toBe(
      'ERR_VERBENA_ABORTED',
    );
    expect(server.stats().traffic.requests).toBe(requests);
  });

  it('ends a large request while its payload is read', async () => {
    const controller = new AbortController();
    const request = client.request(pattern(MAX), { signal: controller.signal });
    setImmediate(() => controller.abort());
    expect(await codeOfRejection(request)).toBe('ERR_VERBENA_ABORTED');
  });

  it('is forgotten when the request is done', async () => {
    const controller = new AbortController();
    await client.request(new Uint8Array(1), { signal: controller.signal });
    controller.abort();
    expectEqualBytes(await client.request(new Uint8Array(1)), new Uint8Array(1));
  });
});

describe('many requests at once', () => {
  it('are all answered with their own bytes, whatever their sizes', async () => {
    const lengths = Array.from({ length: 1000 }, (_, index) => (index * 37) % (LARGEST_EAGER + 20));
    await Promise.all(
      lengths.map(async (length, index) => {
        const payload = pattern(length, index + 1);
        expectEqualBytes(await client.request(payload), payload);
      }),
    );
  });

  it('beyond the queue fail, and the others are answered', async () => {
    const small = await connectTo(server, { queueSize: 10 });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 150 }, () => small.request(new Uint8Array(10))),
    );
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(failed).toHaveLength(150 - 110);
    for (const { reason } of failed)
      expect(reason).toMatchObject({ code: 'ERR_VERBENA_QUEUE_FULL' });
    await small.close();
  });

  it('share SENDs', async () => {
    const before = client.traffic;
    await Promise.all(Array.from({ length: 90 }, () => client.request(new Uint8Array(8))));
    const sends = client.traffic.sendsPosted - before.sendsPosted;
    expect(client.traffic.messagesSent - before.messagesSent).toBe(90);
    expect(sends).toBeLessThan(10);
  });

  it('that are large are all answered, within the budget for memory', async () => {
    await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        const payload = pattern(1024 * 1024 + index, index + 1);
        expectEqualBytes(await client.request(payload), payload);
      }),
    );
    expect(client.traffic.offersExpired).toBe(0);
  });

  it.each([
    [1, 256],
    [2, 256],
    [3, 512],
    [64, 4096],
  ])('work with %i slots of %i bytes', async (slots, slotBytes) => {
    const narrow = await connectTo(server, { slots, slotBytes });
    await Promise.all(
      Array.from({ length: 300 }, async (_, index) => {
        const payload = pattern(index, index + 1);
        expectEqualBytes(await narrow.request(payload), payload);
      }),
    );
    await narrow.close();
  });
});

describe('the concurrency of handlers', () => {
  it('is bounded by the window that the server grants', async () => {
    let running = 0;
    let most = 0;
    const bounded = await startServer({
      maxRequestsPerConnection: 7,
      handler: async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, 2));
        running--;
      },
    });
    const connection = await connectTo(bounded);
    await Promise.all(Array.from({ length: 60 }, () => connection.request(new Uint8Array(1))));
    expect(most).toBe(7);
    await connection.close();
    await bounded.close();
  });

  it('refuses a request when handlers that were given up still run', async () => {
    const releases: (() => void)[] = [];
    const stuck = await startServer({
      maxRequestsPerConnection: 2,
      handler: () => new Promise<void>((resolve) => releases.push(resolve)),
    });
    const connection = await connectTo(stuck);
    const first = [1, 2].map(() => connection.request(new Uint8Array(1), { timeoutMs: 30 }));
    for (const request of first) {
      expect(await codeOfRejection(request)).toBe('ERR_VERBENA_REQUEST_TIMEOUT');
    }
    const refused = connection.request(new Uint8Array(1));
    expect(await codeOfRejection(refused)).toBe('ERR_VERBENA_RESOURCE_EXHAUSTED');
    for (const release of releases.splice(0)) release();
    const served = connection.request(new Uint8Array(1));
    await expect.poll(() => releases).toHaveLength(1);
    releases[0]?.();
    await served;
    await connection.close();
    await stuck.close();
  });
});

describe('a closed connection', () => {
  it('refuses everything with its reason', async () => {
    const other = await connectTo(server);
    await other.close();
    expect(other.state).toBe('closed');
    for (const attempt of [
      other.request(new Uint8Array(1)),
      other.write(0, new Uint8Array(1)),
      other.read(0, 1),
      other.fetchAdd(0, 1n),
      other.compareSwap(0, 1n, 1n),
    ]) {
      expect(await codeOfRejection(attempt)).toBe('ERR_VERBENA_CONNECTION_CLOSED');
    }
    await other.close();
  });

  it('had let its requests finish', async () => {
    const other = await connectTo(server);
    const answers = Array.from({ length: 150 }, (_, index) => other.request(pattern(index)));
    const closing = other.close();
    expect(await codeOfRejection(other.request(new Uint8Array(1)))).toBe(
      'ERR_VERBENA_CONNECTION_CLOSED',
    );
    for (const [index, answer] of (await Promise.all(answers)).entries()) {
      expectEqualBytes(answer, pattern(index));
    }
    await closing;
  });

  it('does not wait for ever for a handler', async () => {
    const other = await connectTo(server, { closeTimeoutMs: 100 });
    const request = other.request(new Uint8Array(0), { method: Method.hang });
    const rejected = codeOfRejection(request);
    const started = performance.now();
    await other.close();
    expect(performance.now() - started).toBeLessThan(1500 * timeScale);
    expect(await rejected).toBe('ERR_VERBENA_CONNECTION_CLOSED');
  });
});
