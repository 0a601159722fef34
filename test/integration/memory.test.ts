// Memory in the hands of a program: transfers in place, memory given back early, and what neither
// may do.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { VerbenaError, allocate, release, type Connection, type Server } from '../../src/index.js';
import { acquireDevice, type DeviceLease } from '../../src/rdma/device.js';
import { testDevice } from '../helpers/environment.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  expectNothingLeft,
  pattern,
  startServer,
} from '../helpers/verbena.js';

const LARGE = 1024 * 1024;
const REGION = 4 * LARGE;

let lease: DeviceLease;
let server: Server;
let client: Connection;
let taken = 0;

/** How often both ends took memory from the device's pool since the test began. */
const takenFromPool = (): number => takenInAll() - taken;
const takenInAll = (): number => {
  const { allocations, reuses } = lease.device.pool.stats();
  return allocations + reuses;
};
/** Memory regions of clients. */
const regions = (): number =>
  lease.device.registry
    .snapshot()
    .filter(({ kind, owner }) => kind === 'mr' && owner.startsWith('client-')).length;

/** Released after the test; the garbage collector deregisters none while it counts. */
const kept: Uint8Array[] = [];

/** Memory of `allocate` with a pattern in it. */
function filled(bytes: number, seed: number): Uint8Array {
  const memory = allocate(bytes);
  memory.set(pattern(bytes, seed));
  kept.push(memory);
  return memory;
}

/** Memory that is registered, and that nothing keeps. */
async function writeAndDrop(): Promise<void> {
  await client.write(0, allocate(LARGE));
}

beforeAll(async () => {
  lease = acquireDevice({ device: testDevice });
  server = await startServer({ regionBytes: REGION });
  client = await connectTo(server);
  // The first small one registers memory that stays.
  await client.read(0, 1);
});

beforeEach(() => {
  taken = takenInAll();
});

afterEach(() => {
  for (const memory of kept.splice(0)) release(memory);
});

afterAll(async () => {
  await client.close();
  await server.close();
  lease.release();
  expectNothingLeft();
});

describe('memory that was allocated', () => {
  it('is zeroed, and as long as was asked for', () => {
    const memory = allocate(5000);
    expectEqualBytes(memory, new Uint8Array(5000));
    memory.fill(1);
    release(memory);
    expectEqualBytes(allocate(5000), new Uint8Array(5000));
  });

  it.each([0, -1, 0.5, NaN, 2 ** 32 + 1, 2 ** 60])('cannot have %d bytes', (bytes) => {
    expect(() => allocate(bytes)).toThrow(VerbenaError);
    expect(() => allocate(bytes)).toThrow(
      expect.objectContaining({ code: 'ERR_VERBENA_INVALID_OPTION' }),
    );
  });

  it('is written from in place, any part of it', async () => {
    const memory = filled(3 * LARGE, 3);
    await client.write(0, memory.subarray(77, 77 + 2 * LARGE));
    expect(takenFromPool()).toBe(0);
    expectEqualBytes(
      await client.read(0, 2 * LARGE),
      pattern(3 * LARGE, 3).subarray(77, 77 + 2 * LARGE),
    );
  });

  it('is read into in place, and nothing else of it changes', async () => {
    await client.write(0, pattern(LARGE, 4));
    taken = takenInAll();
    const memory = filled(2 * LARGE, 0).fill(0xee);
    const into = memory.subarray(100, 100 + LARGE + 50);
    const read = await client.read(0, LARGE, { into });
    expect(takenFromPool()).toBe(0);
    expect(read.buffer).toBe(memory.buffer);
    expect([read.byteOffset, read.length]).toEqual([100, LARGE]);
    expectEqualBytes(read, pattern(LARGE, 4));
    expect(memory.subarray(0, 100).every((byte) => byte === 0xee)).toBe(true);
    expect(memory.subarray(100 + LARGE).every((byte) => byte === 0xee)).toBe(true);
  });

  it.each([0, 77])('is asked from in place, from byte %i on', async (from) => {
    const memory = filled(2 * LARGE, 5);
    const answer = await client.request(memory.subarray(from, from + LARGE));
    expectEqualBytes(answer, pattern(2 * LARGE, 5).subarray(from, from + LARGE));
    // The server's copy of the request, that of its answer, and where the client has it.
    expect(takenFromPool()).toBe(3);
  });

  it('is registered once for each connection, until it is released', async () => {
    const other = await connectTo(server);
    const before = regions();
    const memory = filled(LARGE, 6);
    for (let i = 0; i < 3; i++) await client.write(0, memory);
    expect(regions()).toBe(before + 1);
    await other.write(0, memory);
    expect(regions()).toBe(before + 2);
    expect(release(memory)).toBe(true);
    expect(regions()).toBe(before);
    await other.close();
  });

  it('outlives its connections, and goes on with the next', async () => {
    const memory = filled(LARGE, 7);
    for (let i = 0; i < 3; i++) {
      const connection = await connectTo(server);
      await connection.write(0, memory);
      expectEqualBytes(await connection.read(0, LARGE), pattern(LARGE, 7));
      await connection.close();
    }
    release(memory);
  });

  it('is deregistered when the garbage collector finds it', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const before = regions();
    const writes = [writeAndDrop(), writeAndDrop(), writeAndDrop()];
    expect(regions()).toBe(before + 3);
    await Promise.all(writes);
    await expect
      .poll(() => {
        collectGarbage();
        return regions();
      })
      .toBe(before);
  });

  it('may be small', async () => {
    const memory = filled(10, 8);
    await client.write(5, memory);
    expectEqualBytes(await client.read(5, 10, { into: allocate(10) }), pattern(10, 8));
    expectEqualBytes(await client.request(memory), pattern(10, 8));
  });
});

describe('other memory', () => {
  it.each([20, LARGE])('is read into, too: %i bytes', async (bytes) => {
    await client.write(9, pattern(bytes, 9));
    const into = new Uint8Array(bytes + 2).fill(0xee);
    const read = await client.read(9, bytes, { into });
    expect(read.buffer).toBe(into.buffer);
    expectEqualBytes(read, pattern(bytes, 9));
    expect([...into.subarray(bytes)]).toEqual([0xee, 0xee]);
  });

  it('must have room', async () => {
    const into = new Uint8Array(9);
    expect(await codeOfRejection(client.read(0, 10, { into }))).toBe('ERR_VERBENA_INVALID_OPTION');
    expect(await client.read(0, 0, { into })).toHaveLength(0);
  });

  it('is not released', () => {
    const bytes = new Uint8Array(5);
    expect(release(bytes)).toBe(false);
    expect(bytes).toHaveLength(5);
    expect(release(Buffer.from('pooled'))).toBe(false);
  });
});

describe('what is released', () => {
  it('is empty, and is used again at once', async () => {
    const seen = new Set<number>();
    await client.write(0, pattern(LARGE, 10));
    for (let i = 0; i < 20; i++) {
      const answer = await client.read(0, LARGE);
      expectEqualBytes(answer, pattern(LARGE, 10));
      const other = answer.subarray(5, 10);
      expect(release(answer)).toBe(true);
      expect([answer.length, other.length]).toEqual([0, 0]);
      expect(release(answer)).toBe(false);
      seen.add(takenInAll());
    }
    expect(seen.size).toBe(20);
  });

  it('may be a request, once its handler has what it wants of it', async () => {
    const summing = await startServer({
      handler: ({ payload }) => {
        const sum = payload.reduce((a, b) => a + b, 0);
        const isLarge = payload.length === LARGE;
        expect(release(payload)).toBe(isLarge);
        return Buffer.from(String(sum));
      },
    });
    const asking = await connectTo(summing);
    for (const bytes of [LARGE, 100, LARGE]) {
      const answer = await asking.request(new Uint8Array(bytes).fill(2));
      expect(Buffer.from(answer).toString()).toBe(String(2 * bytes));
    }
    await asking.close();
    await summing.close();
  });

  it('is not what a transfer uses', async () => {
    const memory = filled(LARGE, 11);
    for (const act of [
      () => client.write(0, memory),
      () => client.read(0, LARGE, { into: memory }),
      () => client.request(memory),
    ]) {
      const done = act();
      expect(() => release(memory)).toThrow(
        expect.objectContaining({ code: 'ERR_VERBENA_IN_USE' }),
      );
      await done;
    }
    await expect.poll(() => release(memory)).toBe(true);
  });

  it('is missed by what waited for its turn, and by nothing else', async () => {
    const memory = Array.from({ length: 40 }, (_, index) => filled(LARGE, index));
    const reads = memory.map(() => client.read(0, LARGE, { into: filled(LARGE, 0) }));
    const writes = memory.map((bytes) => client.write(0, bytes));
    const requests = memory.map((bytes) => client.request(bytes));
    expect(release(memory[39] as Uint8Array)).toBe(true);
    const ended = await Promise.allSettled([...reads, ...writes, ...requests]);
    const failed = ended.filter((end) => end.status === 'rejected');
    expect(failed.map(({ reason }) => (reason as VerbenaError).code)).toEqual([
      'ERR_VERBENA_INVALID_OPTION',
      'ERR_VERBENA_INVALID_OPTION',
    ]);
    expect([ended[79], ended[119]]).toEqual(failed);
    expectEqualBytes(await client.request(pattern(100, 1)), pattern(100, 1));
  });

  it.each([100, LARGE])('is missed by a read of %i bytes that is under way', async (bytes) => {
    const into = await client.read(0, LARGE);
    const read = client.read(0, bytes, { into });
    release(into);
    expect(await codeOfRejection(read)).toBe('ERR_VERBENA_INVALID_OPTION');
    expect(await client.read(0, 100)).toHaveLength(100);
  });

  it('may be the memory of a request, as soon as its answer is there', async () => {
    for (let round = 0; round < 20; round++) {
      const memory = allocate(LARGE).fill(round);
      await client.request(memory);
      expect(release(memory)).toBe(true);
    }
  });

  it('is never the region of a session', () => {
    const [session] = server.sessions();
    const region = session?.region as Uint8Array;
    expect(release(region)).toBe(false);
    expect(region).toHaveLength(REGION);
  });

  it('may be what a transfer used, as soon as it is said to have failed', async () => {
    const hasty = await connectTo(server, { closeTimeoutMs: 1 });
    const memory = filled(REGION, 13);
    const released: boolean[] = [];
    const work = [hasty.write(0, memory), hasty.request(memory)].map((transfer) =>
      transfer.catch(() => released.push(release(memory))),
    );
    await Promise.all([hasty.close(), ...work]);
    expect(released[0]).toBe(true);
  });

  it('may be what a transfer used that its connection did not survive', async () => {
    const hasty = await connectTo(server, { closeTimeoutMs: 1 });
    const memory = filled(REGION, 12);
    const work = Promise.allSettled([
      hasty.write(0, memory),
      hasty.read(0, REGION, { into: memory }),
      hasty.request(memory),
    ]);
    await hasty.close();
    const outcomes = await work;
    expect(outcomes.map(({ status }) => status)).toContain('rejected');
    expect(release(memory)).toBe(true);
  });
});
