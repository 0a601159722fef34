// The buffer pool: size classes with little waste, and memory that was zeroed before its next user.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BufferPool, slabBytesFor, type SlabSource } from '../../../src/rdma/buffer-pool.js';

/** Plain memory, and what was left to the garbage collector of it. */
function plainSource(): { source: SlabSource; left: ArrayBuffer[] } {
  const left: ArrayBuffer[] = [];
  const allocateSlab = (bytes: number): ArrayBuffer => new ArrayBuffer(bytes);
  return { left, source: { allocateSlab, leaveSlabToCollector: (slab) => left.push(slab) } };
}

describe('slabBytesFor', () => {
  it('is enough, whole pages, and at most an eighth too much beyond 8 pages', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 30 }), (bytes) => {
        const size = slabBytesFor(bytes);
        expect(size).toBeGreaterThanOrEqual(bytes);
        expect(size % 4096).toBe(0);
        const pages = Math.ceil(bytes / 4096) * 4096;
        expect(size).toBeLessThanOrEqual(pages <= 32_768 ? pages : pages * 1.125);
      }),
    );
  });

  it('wastes nothing on the rings of a session with default options', () => {
    expect(slabBytesFor(2 * 18 * 4096)).toBe(2 * 18 * 4096);
  });

  it('makes few classes, so that slabs are found again', () => {
    const sizes = new Set(Array.from({ length: 16_384 }, (_, pages) => slabBytesFor(pages * 4096)));
    expect(sizes.size).toBeLessThan(110);
  });
});

describe('BufferPool', () => {
  it('gives a slab again, zeroed', () => {
    const pool = new BufferPool(plainSource().source, 1e9);
    const first = pool.acquire(5000);
    first.bytes.fill(7);
    pool.release(first);
    const second = pool.acquire(6000);
    expect(second).toBe(first);
    // What nobody asked for is not touched, and takes no memory if it never was.
    expect(second.bytes.findIndex((byte) => byte !== 0)).toBe(6000);
    expect(pool.stats()).toEqual({ lentBytes: 8192, freeBytes: 0, allocations: 1, reuses: 1 });
  });

  it('zeroes it for everybody but who writes it all', () => {
    const pool = new BufferPool(plainSource().source, 1e9);
    const first = pool.acquireUnzeroed(5000);
    first.bytes.fill(7);
    pool.release(first);
    const second = pool.acquireUnzeroed(5000);
    expect(second.bytes[0]).toBe(7);
    pool.release(second);
    expect(pool.acquire(5000).bytes.findIndex((byte) => byte !== 0)).toBe(5000);
  });

  it('never sees a surrendered slab again', () => {
    const { source, left } = plainSource();
    const pool = new BufferPool(source, 1e9);
    const slab = pool.acquire(1);
    pool.surrender(slab);
    expect(left).toEqual([slab.buffer]);
    expect(pool.acquire(1)).not.toBe(slab);
    expect(pool.stats()).toMatchObject({ lentBytes: 4096, allocations: 2, reuses: 0 });
  });

  it('keeps no more than its limit', () => {
    const { source, left } = plainSource();
    const pool = new BufferPool(source, 8192);
    const slabs = [pool.acquire(4096), pool.acquire(4096), pool.acquire(4096)];
    for (const slab of slabs) pool.release(slab);
    expect(pool.stats()).toMatchObject({ lentBytes: 0, freeBytes: 8192 });
    expect(left).toEqual([slabs[2]?.buffer]);
  });

  it('lends no slab twice, and accounts for every byte', () => {
    const steps = fc.array(fc.oneof(fc.integer({ min: 1, max: 200_000 }), fc.constant('release')), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(steps, (schedule) => {
        const pool = new BufferPool(plainSource().source, 100_000);
        const lent = new Set<ReturnType<BufferPool['acquire']>>();
        for (const step of schedule) {
          if (typeof step === 'number') {
            const slab = pool.acquire(step);
            expect(lent.has(slab)).toBe(false);
            lent.add(slab);
          } else {
            const [oldest] = lent;
            if (oldest === undefined) continue;
            lent.delete(oldest);
            pool.release(oldest);
          }
          const bytes = [...lent].reduce((sum, slab) => sum + slab.bytes.length, 0);
          expect(pool.stats().lentBytes).toBe(bytes);
          expect(pool.stats().freeBytes).toBeLessThanOrEqual(100_000);
        }
      }),
    );
  });
});
