// Series of runs: their steps, and the rate up to which the server kept up.
import { describe, expect, it } from 'vitest';
import type { BenchResult } from '../../../src/bench/result.js';
import { doublings, seriesOf } from '../../../src/bench/series.js';
import { steps } from '../../../src/cli/option-parsers.js';

describe('steps', () => {
  it('of sizes are the powers of two, and both ends', () => {
    expect(doublings(1, 16)).toEqual([1, 2, 4, 8, 16]);
    expect(doublings(3, 20)).toEqual([3, 4, 8, 16, 20]);
    expect(doublings(0, 3)).toEqual([0, 1, 2, 3]);
    expect(doublings(64, 64)).toEqual([64]);
  });

  it('of rates are a list, doubled, or even', () => {
    const parse = steps(1, 1e6);
    expect(parse('10,20.5,40')).toEqual([10, 20.5, 40]);
    expect(parse('1000..7000')).toEqual([1000, 2000, 4000, 7000]);
    expect(parse('1000..3500:1000')).toEqual([1000, 2000, 3000]);
    expect(parse('5..5')).toEqual([5]);
  });
});

describe('the knee', () => {
  const kneeOf = (...reached: number[]): number | null => {
    const values = reached.map((_, index) => (index + 1) * 100);
    const points = reached.map((operationsPerSecond, index) => ({
      operationsPerSecond,
      complete: true,
      unsent: 0,
      errors: 0,
      load: { rate: (index + 1) * 100 },
    })) as unknown as BenchResult[];
    return seriesOf({ kind: 'rate', values }, points).knee;
  };

  it('is the last rate before the first that was not reached', () => {
    expect(kneeOf(100, 199, 220, 400)).toBe(200);
    expect(kneeOf(100, 200)).toBe(200);
    expect(kneeOf(50, 200)).toBeNull();
  });
});
