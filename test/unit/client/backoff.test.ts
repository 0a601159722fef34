// The time between attempts to connect again.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs } from '../../../src/client/reconnecting.js';

const limits = { initialDelayMs: 100, maxDelayMs: 5000 };

describe('the wait before an attempt', () => {
  it('doubles up to the maximum, and is at least half of that', () => {
    const longest = [1, 2, 3, 6, 7, 1000].map((attempt) => backoffMs(attempt, limits, 0, () => 1));
    expect(longest).toEqual([100, 200, 400, 3200, 5000, 5000]);
    const shortest = [1, 2, 3].map((attempt) => backoffMs(attempt, limits, 0, () => 0));
    expect(shortest).toEqual([50, 100, 200]);
  });

  it('is never shorter than the server asked for, nor longer than allowed otherwise', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.integer({ min: 0, max: 20_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (attempt, retryAfterMs, random) => {
          const delayMs = backoffMs(attempt, limits, retryAfterMs, () => random);
          expect(delayMs).toBeGreaterThanOrEqual(Math.max(50, retryAfterMs));
          expect(delayMs).toBeLessThanOrEqual(Math.max(limits.maxDelayMs, retryAfterMs));
        },
      ),
    );
  });
});
