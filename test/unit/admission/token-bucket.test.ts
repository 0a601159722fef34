// How often something may happen: the burst, then the rate, and no more over any time.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../../src/admission/token-bucket.js';

describe('TokenBucket', () => {
  it('lets no more through than the burst and the rate allow, over any span of time', () => {
    const waits = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200 });
    const rates = fc.integer({ min: 1, max: 50 });
    fc.assert(
      fc.property(rates, rates, waits, (perSecond, burst, waits) => {
        const bucket = new TokenBucket(perSecond, burst, 0);
        const taken: number[] = [];
        let now = 0;
        for (const wait of waits) {
          now += wait;
          if (bucket.take(now)) taken.push(now);
        }
        for (const [first, start] of taken.entries()) {
          for (let last = first; last < taken.length; last++) {
            const spanMs = (taken[last] as number) - start;
            const most = burst + (spanMs * perSecond) / 1000;
            expect(last - first + 1).toBeLessThanOrEqual(most + 1e-6);
          }
        }
      }),
    );
  });

  it('has a token when it says so, and not before', () => {
    const bucket = new TokenBucket(4, 1, 0);
    expect(bucket.take(0)).toBe(true);
    expect(bucket.msUntilNext(0)).toBe(250);
    expect(bucket.take(249)).toBe(false);
    expect(bucket.take(250)).toBe(true);
  });

  it('is full again after a while, and never more than full', () => {
    const bucket = new TokenBucket(10, 2, 0);
    expect(bucket.isFull(0)).toBe(true);
    bucket.take(0);
    expect(bucket.isFull(50)).toBe(false);
    expect(bucket.isFull(100)).toBe(true);
    expect([1, 2, 3].map(() => bucket.take(60_000))).toEqual([true, true, false]);
  });
});
