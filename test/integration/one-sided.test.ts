// One-sided operations: data, atomicity, order, bounds, and the immediate event.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Connection, Server, Session } from '../../src/index.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  expectNothingLeft,
  pattern,
  startServer,
} from '../helpers/verbena.js';

const REGION = 3 * 1024 * 1024 + 8;

let server: Server;
let client: Connection;
let session: Session;
const immediates: [number, number][] = [];

beforeAll(async () => {
  server = await startServer({ regionBytes: REGION });
  const connected = new Promise<Session>((resolve) => server.once('session', resolve));
  client = await connectTo(server);
  session = await connected;
  session.on('immediate', (value, byteLength) => immediates.push([value, byteLength]));
  // The first small one registers memory that stays.
  await client.read(0, 1);
});

afterAll(async () => {
  await client.close();
  await server.close();
  expectNothingLeft();
});

describe('the region', () => {
  it('has the size that the server offers, and starts as zeros', async () => {
    expect(client.regionLength).toBe(REGION);
    expect(session.region).toHaveLength(REGION);
    expectEqualBytes(await client.read(0, REGION), new Uint8Array(REGION));
  });

  it.each([0, 1, 7, 8, 219, 220, 221, 4095, 4096, 4097, 65_536, 262_143, 262_145, 2_097_153])(
    'holds %i bytes that were written, and no other changes',
    async (length) => {
      const region = session.region;
      region.fill(0xee);
      const bytes = pattern(length, length + 5);
      await client.write(64, bytes);
      expectEqualBytes(region.subarray(64, 64 + length), bytes);
      expect(region.subarray(0, 64).every((byte) => byte === 0xee)).toBe(true);
      expect(region.subarray(64 + length).every((byte) => byte === 0xee)).toBe(true);
      expectEqualBytes(await client.read(64, length), bytes);
    },
  );

  it('is written up to its last byte', async () => {
    await client.write(REGION - 3, Uint8Array.of(1, 2, 3));
    expectEqualBytes(await client.read(REGION - 3, 3), Uint8Array.of(1, 2, 3));
    await client.write(REGION, new Uint8Array(0));
    expect(await client.read(REGION, 0)).toHaveLength(0);
  });

  it('shows the client what the server writes', async () => {
    session.region.set(pattern(100, 6), 500);
    expectEqualBytes(await client.read(500, 100), pattern(100, 6));
  });

  it('belongs to one session', async () => {
    const other = await connectTo(server);
    await client.write(0, Uint8Array.of(9));
    expect([...(await other.read(0, 1))]).toEqual([0]);
    await other.close();
  });

  it('is as large as the client wants, at most', async () => {
    const small = await connectTo(server, { regionBytes: 100 });
    expect(small.regionLength).toBe(100);
    expect(await codeOfRejection(small.read(100, 1))).toBe('ERR_VERBENA_OUT_OF_BOUNDS');
    await small.close();
    const none = await connectTo(server, { regionBytes: 0 });
    expect(none.regionLength).toBe(0);
    expect(await codeOfRejection(none.read(0, 0))).toBe('ERR_VERBENA_NO_REGION');
    await none.close();
    const much = await connectTo(server, { regionBytes: 2 ** 40 });
    expect(much.regionLength).toBe(REGION);
    await much.close();
  });

  it('is empty after the session when nobody had looked at it before', async () => {
    const connected = new Promise<Session>((resolve) => server.once('session', resolve));
    const first = await connectTo(server);
    const left = await connected;
    await first.close();
    await expect.poll(() => server.sessions()).not.toContain(left);
    expect(left.region).toHaveLength(0);
  });

  it('stays the memory of a handler that kept it, after the session', async () => {
    const connected = new Promise<Session>((resolve) => server.once('session', resolve));
    const first = await connectTo(server);
    const kept = (await connected).region;
    await first.write(0, Uint8Array.of(42));
    await first.close();
    const second = await connectTo(server);
    await second.write(0, Uint8Array.of(7));
    expect(kept[0]).toBe(42);
    await second.close();
  });
});

describe('bounds', () => {
  it.each([
    ['a negative offset', -1, 1],
    ['a fraction', 0.5, 1],
    ['NaN', NaN, 1],
    ['an offset past the end', REGION + 1, 0],
    ['a length past the end', REGION - 7, 8],
    ['a length that would wrap', 8, Number.MAX_SAFE_INTEGER],
    ['an offset that would wrap', Number.MAX_SAFE_INTEGER, 8],
    ['an offset beyond the safe integers', 2 ** 60, 1],
    ['a negative length', 8, -8],
  ])('refuse %s at the client, and the connection stays', async (_, offset, length) => {
    expect(await codeOfRejection(client.read(offset, length))).toBe('ERR_VERBENA_OUT_OF_BOUNDS');
    if (length >= 0 && length < 100) {
      const write = client.write(offset, new Uint8Array(length));
      expect(await codeOfRejection(write)).toBe('ERR_VERBENA_OUT_OF_BOUNDS');
    }
    expect(await client.read(0, 1)).toHaveLength(1);
  });

  it.each([
    ['text', () => client.write(0, 'text' as unknown as Uint8Array)],
    ['an immediate of 33 bits', () => client.write(0, new Uint8Array(1), { immediate: 2 ** 32 })],
    ['a number as operand', () => client.fetchAdd(0, 1 as unknown as bigint)],
    ['an operand of 65 bits', () => client.compareSwap(0, 0n, 2n ** 64n)],
  ])('refuse %s', async (_, operation) => {
    expect(await codeOfRejection(operation())).toBe('ERR_VERBENA_INVALID_OPTION');
  });

  it('refuse an atomic operation that is not aligned or not inside', async () => {
    expect(await codeOfRejection(client.fetchAdd(4, 1n))).toBe('ERR_VERBENA_MISALIGNED');
    expect(await codeOfRejection(client.fetchAdd(REGION, 1n))).toBe('ERR_VERBENA_OUT_OF_BOUNDS');
  });
});

describe('atomic operations', () => {
  it('add modulo 2^64 and return what was there', async () => {
    await client.write(0, new Uint8Array(8).fill(0xff));
    expect(await client.fetchAdd(0, 2n)).toBe(2n ** 64n - 1n);
    expect(await client.fetchAdd(0, -1n)).toBe(1n);
    expect(await client.fetchAdd(0, 0n)).toBe(0n);
  });

  it('swap only what is expected', async () => {
    await client.write(8, new Uint8Array(8));
    expect(await client.compareSwap(8, 1n, 5n)).toBe(0n);
    expect(await client.compareSwap(8, 0n, 2n ** 63n + 1n)).toBe(0n);
    expect(await client.compareSwap(8, 0n, 9n)).toBe(2n ** 63n + 1n);
    const bytes = await client.read(8, 8);
    expect(Buffer.from(bytes).readBigUInt64LE()).toBe(2n ** 63n + 1n);
  });

  it('hand out every number once, many at a time', async () => {
    await client.write(16, new Uint8Array(8));
    const found = await Promise.all(Array.from({ length: 500 }, () => client.fetchAdd(16, 1n)));
    expect([...found].sort((a, b) => Number(a - b))).toEqual(
      Array.from({ length: 500 }, (_, index) => BigInt(index)),
    );
    expect(await client.fetchAdd(16, 0n)).toBe(500n);
  });
});

describe('many operations', () => {
  it('run in the order of their calls', async () => {
    const writes = Array.from({ length: 400 }, (_, index) =>
      client.write(0, new Uint8Array(index % 3 === 0 ? 5000 : 50).fill(index)),
    );
    const last = client.read(0, 50);
    await Promise.all(writes);
    expectEqualBytes(await last, new Uint8Array(50).fill(399));
  });

  it('beyond the queue fail, and the others succeed', async () => {
    const small = await connectTo(server, { queueSize: 4 });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 30 }, () => small.write(0, new Uint8Array(8))),
    );
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(failed).toHaveLength(30 - 16 - 4);
    for (const { reason } of failed)
      expect(reason).toMatchObject({ code: 'ERR_VERBENA_QUEUE_FULL' });
    await small.close();
  });

  it('mix with requests of every kind', async () => {
    await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const bytes = pattern(index % 7 === 0 ? 100_000 : 300, index + 1);
        if (index % 2 === 0) {
          expectEqualBytes(await client.request(bytes), bytes);
        } else {
          const offset = 100_000 + index * 1000;
          await client.write(offset, bytes.subarray(0, 1000));
          expectEqualBytes(
            await client.read(offset, Math.min(bytes.length, 1000)),
            bytes.subarray(0, 1000),
          );
        }
      }),
    );
  });
});

describe('a write with immediate', () => {
  it('raises an event with its value and length, after the bytes are there', async () => {
    immediates.length = 0;
    const seen = new Promise<number[]>((resolve) => {
      session.once('immediate', () => resolve([...session.region.subarray(32, 35)]));
    });
    await client.write(32, Uint8Array.of(4, 5, 6), { immediate: 0xffff_fffe });
    expect(await seen).toEqual([4, 5, 6]);
    await client.write(0, new Uint8Array(0), { immediate: 0 });
    await client.write(0, pattern(1_500_000), { immediate: 3 });
    await expect.poll(() => immediates).toHaveLength(3);
    const lastPiece = 1_500_000 - 5 * 262_144;
    expect(immediates).toEqual([
      [0xffff_fffe, 3],
      [0, 0],
      [3, lastPiece],
    ]);
  });

  it('waits for credit when there are more than the server has receives for', async () => {
    immediates.length = 0;
    await Promise.all(
      Array.from({ length: 300 }, (_, index) =>
        client.write(0, new Uint8Array(8), { immediate: index }),
      ),
    );
    await expect.poll(() => immediates).toHaveLength(300);
    expect(immediates.map(([value]) => value)).toEqual(Array.from({ length: 300 }, (_, i) => i));
  });
});
