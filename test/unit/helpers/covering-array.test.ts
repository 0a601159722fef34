// Covering arrays: every pair that can occur does, in few combinations, always the same ones.
import { describe, expect, it } from 'vitest';
import { everyCombination, pairsOf, pairwiseCombinations } from '../../helpers/covering-array.js';

const factors = { a: [1, 2, 3], b: ['x', 'y', 'z'], c: [0, 1], d: [0, 1] } as const;
const isAllowed = ({ a, b }: { a: number; b: string }): boolean => !(a === 3 && b === 'z');

const pairsIn = (combinations: readonly Record<string, string | number>[]): string[] =>
  [...new Set(combinations.flatMap(pairsOf))].sort();

describe('everyCombination', () => {
  it('lists each combination once, without those that are not allowed', () => {
    const all = everyCombination(factors, isAllowed);
    expect(all).toHaveLength(3 * 3 * 2 * 2 - 4);
    expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(all.length);
    expect(all.every(isAllowed)).toBe(true);
  });
});

describe('pairwiseCombinations', () => {
  it('covers every pair that an allowed combination has', () => {
    const few = pairwiseCombinations(factors, isAllowed);
    expect(pairsIn(few)).toEqual(pairsIn(everyCombination(factors, isAllowed)));
    expect(few.every(isAllowed)).toBe(true);
  });

  it('needs hardly more combinations than the two largest factors have', () => {
    expect(pairwiseCombinations(factors, isAllowed).length).toBeLessThanOrEqual(11);
  });

  it('is the same every time', () => {
    expect(pairwiseCombinations(factors)).toEqual(pairwiseCombinations(factors));
  });
});
