// Borrowers of a client pool: each has one instance at a time, for a round of operations.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Borrower } from '../../../src/bench/links.js';
import type { PooledClient } from '../../../src/index.js';

/** Lends so many instances in order, and holds its users to what a loan allows. */
class FakePool {
  total = 1;
  loans = 0;
  mostOperations = 0;
  readonly #waiting: ((client: PooledClient) => void)[] = [];
  #free: number;

  constructor(
    instances: number,
    private readonly answer: () => Promise<Uint8Array>,
  ) {
    this.#free = instances;
  }

  get free(): number {
    return this.#free;
  }

  acquire(): Promise<PooledClient> {
    this.loans += 1;
    if (this.#free === 0) return new Promise((resolve) => this.#waiting.push(resolve));
    this.#free -= 1;
    return Promise.resolve(this.#lend());
  }

  #lend(): PooledClient {
    let operations = 0;
    let isReleased = false;
    return {
      request: () => {
        expect(isReleased).toBe(false);
        operations += 1;
        this.mostOperations = Math.max(this.mostOperations, operations);
        return this.answer();
      },
      release: () => {
        expect(isReleased).toBe(false);
        isReleased = true;
        const next = this.#waiting.shift();
        if (next === undefined) this.#free += 1;
        else next(this.#lend());
      },
    } as unknown as PooledClient;
  }
}

const nothing = new Uint8Array(0);

describe('borrowers', () => {
  it('share the instances, and give each back after a round of operations', async () => {
    const sizes = {
      instances: fc.integer({ min: 1, max: 4 }),
      threads: fc.integer({ min: 1, max: 6 }),
    };
    const loads = { round: fc.integer({ min: 1, max: 5 }), each: fc.integer({ min: 1, max: 20 }) };
    await fc.assert(
      fc.asyncProperty(fc.record({ ...sizes, ...loads }), async (one) => {
        const pool = new FakePool(one.instances, async () => {
          await Promise.resolve();
          return nothing;
        });
        const borrowers = Array.from(
          { length: one.threads },
          () => new Borrower(pool, one.round, []),
        );
        const lanes = borrowers.flatMap((borrower) =>
          Array.from({ length: one.round }, async () => {
            for (let done = 0; done < one.each; done += 1) await borrower.request(nothing);
          }),
        );
        await Promise.all(lanes);
        expect(pool.free).toBe(one.instances);
        expect(pool.mostOperations).toBeLessThanOrEqual(one.round);
        expect(pool.loans).toBeGreaterThanOrEqual(one.threads * one.each);
      }),
    );
  });

  it('go on after an error, and are lost when the pool has no connection any more', async () => {
    const pool = new FakePool(1, () => Promise.reject(new Error('refused')));
    const losses: string[] = [];
    const borrower = new Borrower(pool, 2, losses);
    await expect(borrower.request(nothing)).rejects.toThrow('refused');
    expect(borrower.isOpen).toBe(true);
    pool.total = 0;
    await expect(borrower.request(nothing)).rejects.toThrow('refused');
    expect(borrower.isOpen).toBe(false);
    expect(losses).toEqual(['refused']);
    expect(pool.free).toBe(1);
  });
});
