// Percentiles by nearest rank.
import { describe, expect, it } from 'vitest';
import { percentile } from '../../../src/stress/percentile.js';

describe('percentile', () => {
  it('is a value that was measured, the nearest rank', () => {
    const values = Array.from({ length: 100 }, (_, index) => index + 1);
    expect(percentile(values, 0.5)).toBe(50);
    expect(percentile(values, 0.99)).toBe(99);
    expect(percentile(values, 1)).toBe(100);
    expect(percentile([7], 0.01)).toBe(7);
    expect(percentile([], 0.5)).toBe(0);
  });
});
