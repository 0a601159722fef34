// Which deaths a seed plans.
import { describe, expect, it } from 'vitest';
import { deathKinds, planDeaths } from '../../../src/stress/deaths.js';
import { randomFrom } from '../../../src/random.js';

describe('the plan of deaths', () => {
  it('is the same for the same seed, and another for another', () => {
    const plan = planDeaths(randomFrom(7), 200);
    expect(planDeaths(randomFrom(7), 200)).toEqual(plan);
    expect(planDeaths(randomFrom(8), 200)).not.toEqual(plan);
  });

  it('has every kind about as often', () => {
    const plan = planDeaths(randomFrom(1), 8000);
    for (const kind of deathKinds) {
      const count = plan.filter((death) => death.kind === kind).length;
      expect(count).toBeGreaterThan(850);
      expect(count).toBeLessThan(1150);
    }
  });
});
