// Latencies: what is recorded, what is merged, and what lies beyond the range.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Latencies, histogramBytes, percentiles } from '../../../src/bench/histogram.js';

const range = { highestLatencyMs: 10_000, digits: 3 };
/** In milliseconds, from 1 µs on. */
const latency = fc.double({ min: 0.001, max: 9_000, noNaN: true });

describe('latencies', () => {
  it('are within a thousandth of the percentiles of all values', () => {
    fc.assert(
      fc.property(fc.array(latency, { minLength: 1, maxLength: 300 }), (values) => {
        const latencies = new Latencies(range);
        for (const value of values) latencies.record(value);
        const sorted = [...values].sort((a, b) => a - b);
        const summary = latencies.summary();
        for (const [name, percent] of Object.entries(percentiles)) {
          const rank = Math.max(1, Math.ceil((percent / 100) * sorted.length - 1e-9));
          const exactUs = (sorted[rank - 1] ?? 0) * 1000;
          const foundUs = summary[name as keyof typeof percentiles];
          expect(Math.abs(foundUs - exactUs)).toBeLessThanOrEqual(exactUs * 0.001 + 0.001);
        }
        expect(summary.min).toBeCloseTo((sorted[0] ?? 0) * 1000, 2);
        expect(summary.max).toBeCloseTo((sorted.at(-1) ?? 0) * 1000, 2);
      }),
    );
  });

  it('that are merged are those that one histogram would have recorded', () => {
    fc.assert(
      fc.property(fc.array(fc.array(latency, { maxLength: 50 }), { maxLength: 6 }), (threads) => {
        const one = new Latencies(range);
        const merged = new Latencies(range);
        for (const values of threads) {
          const thread = new Latencies(range);
          for (const value of values) {
            thread.record(value);
            one.record(value);
          }
          merged.add(thread.take());
          expect(thread.count).toBe(0);
        }
        expect(merged.count).toBe(one.count);
        expect(merged.summary()).toEqual(one.summary());
      }),
    );
  });

  it('are 0 when there are none', () => {
    expect(Object.values(new Latencies(range).summary())).toEqual(new Array(8).fill(0));
  });

  it('beyond the range count as the highest, and are told', () => {
    const latencies = new Latencies(range);
    latencies.record(1);
    latencies.record(50_000);
    const merged = new Latencies(range);
    merged.add(latencies.take());
    expect(merged.beyond).toBe(1);
    expect(merged.percentileUs(100)).toBeGreaterThanOrEqual(9_990_000);
    expect(merged.percentileUs(100)).toBeLessThanOrEqual(10_010_000);
    expect(merged.summary().max).toBe(50_000_000);
  });

  it.each([1, 2, 3, 4, 5])('with %i digits take about what was reckoned', (digits) => {
    const wide = { highestLatencyMs: 60_000, digits };
    const real = new Latencies(wide).hdr.estimatedFootprintInBytes;
    expect(Math.abs(histogramBytes(wide) - real)).toBeLessThan(2000 + real / 10);
  });
});
