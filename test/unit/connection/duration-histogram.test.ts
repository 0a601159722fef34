// The histogram of durations: which bucket, what sum, and quantiles within a bucket.
import { describe, expect, it } from 'vitest';
import {
  DurationHistogram,
  durationBounds,
  durationsSince,
  quantile,
} from '../../../src/connection/duration-histogram.js';

const histogramOf = (...ms: number[]): DurationHistogram => {
  const histogram = new DurationHistogram();
  for (const each of ms) histogram.observe(each);
  return histogram;
};

describe('a duration', () => {
  it('is counted in the first bucket whose bound it does not exceed', () => {
    const { counts } = histogramOf(0, 0.05, 0.051, 1, 10_000, 10_001, 1e9).durations();
    expect(counts).toHaveLength(durationBounds.length + 1);
    expect(counts[0]).toBe(2);
    expect(counts[1]).toBe(1);
    expect(counts[durationBounds.indexOf(0.001)]).toBe(1);
    expect(counts[durationBounds.indexOf(10)]).toBe(1);
    expect(counts.at(-1)).toBe(2);
  });

  it('adds to the sum, in seconds', () => {
    expect(histogramOf(250, 750).durations()).toMatchObject({ count: 2, sumSeconds: 1 });
  });
});

describe('a quantile', () => {
  it('lies in its bucket, spread evenly', () => {
    const tens = histogramOf(...Array.from({ length: 100 }, () => 7)).durations();
    expect(quantile(tens, 0.5)).toBeCloseTo(0.0075);
    expect(quantile(tens, 1)).toBe(0.01);
  });

  it('of few slow ones among many is theirs only near the end', () => {
    const durations = histogramOf(...Array.from({ length: 99 }, () => 0.08), 400).durations();
    expect(quantile(durations, 0.5)).toBeLessThanOrEqual(0.000_1);
    expect(quantile(durations, 0.995)).toBeGreaterThan(0.25);
  });

  it('is bounded for what is longer than every bucket, and absent when there was nothing', () => {
    expect(quantile(histogramOf(60_000).durations(), 0.99)).toBe(10);
    expect(quantile(histogramOf().durations(), 0.99)).toBeUndefined();
  });

  it('of a stretch of time leaves out what came before', () => {
    const histogram = histogramOf(4000, 4000);
    const before = histogram.durations();
    histogram.observe(2);
    const since = durationsSince(before, histogram.durations());
    expect(since).toMatchObject({ count: 1, sumSeconds: expect.closeTo(0.002) as number });
    expect(quantile(since, 1)).toBe(0.0025);
  });
});
