// Retries as a share of what is asked.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RetryBudget } from '../../../src/admission/retry-budget.js';

describe('RetryBudget', () => {
  it('allows a share of the attempts and a few more, whatever the order', () => {
    const share = fc.constantFrom(0, 0.05, 0.1, 0.5, 1);
    fc.assert(
      fc.property(share, fc.array(fc.boolean(), { maxLength: 400 }), (share, steps) => {
        const budget = new RetryBudget(share);
        let attempts = 0;
        let retries = 0;
        for (const isRetry of steps) {
          if (!isRetry) {
            attempts++;
            budget.earn();
          } else if (budget.spend()) retries++;
          expect(retries).toBeLessThanOrEqual(10 + share * attempts + 1e-6);
        }
      }),
    );
  });

  it('lets the share through in the long run, and saves up no more than a hundred', () => {
    const budget = new RetryBudget(0.1);
    let retries = 0;
    for (let attempt = 0; attempt < 1000; attempt++) {
      budget.earn();
      if (budget.spend()) retries++;
    }
    expect(retries).toBeGreaterThanOrEqual(109);
    for (let attempt = 0; attempt < 100_000; attempt++) budget.earn();
    for (retries = 0; budget.spend(); retries++);
    expect(retries).toBe(100);
  });
});
