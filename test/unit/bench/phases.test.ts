// Phases of an operation of the load generator: counted from its planned time, merged, summed up.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PhaseHistograms, PhaseSample, phaseNames } from '../../../src/bench/phases.js';

const range = { highestLatencyMs: 60_000, digits: 3 };
const phases = { clientQueueMs: 1, wireMs: 2, serverQueueMs: 3, handlerMs: 4, backMs: 5 };

describe('a sample', () => {
  it('begins when it was planned and ends when its user has the answer', () => {
    const sample = new PhaseSample();
    const beforeMs = performance.now();
    sample.take(phases);
    const afterMs = performance.now();
    const durations = sample.durations(beforeMs - 100, afterMs + 50);
    expect(durations).toMatchObject({ wire: 2, serverQueue: 3, handler: 4 });
    // The library saw the last 15 ms before `take`, of which 14 are in other phases.
    expect(durations?.clientQueue).toBeGreaterThanOrEqual(100 - 14);
    expect(durations?.clientQueue).toBeLessThanOrEqual(afterMs - beforeMs + 100 - 14);
    expect(durations?.back).toBeGreaterThanOrEqual(5 + 50);
    const sum = phaseNames.reduce((total, name) => total + (durations?.[name] ?? 0), 0);
    expect(sum).toBeCloseTo(durations?.whole ?? 0, 9);
  });

  it('is none when the server did not tell', () => {
    expect(new PhaseSample().durations(0, 1)).toBeUndefined();
  });
});

describe('the histograms of the phases', () => {
  it('have means that add up to that of the whole, also when merged', () => {
    const ms = fc.double({ min: 0, max: 1000, noNaN: true });
    const each = fc.tuple(ms, ms, ms, ms, ms);
    fc.assert(
      fc.property(fc.array(each, { minLength: 1, maxLength: 20 }), (all) => {
        const merged = new PhaseHistograms(range);
        for (const [clientQueue, wire, serverQueue, handler, back] of all) {
          const one = new PhaseHistograms(range);
          const whole = clientQueue + wire + serverQueue + handler + back;
          one.record({ clientQueue, wire, serverQueue, handler, back, whole });
          merged.add(one.take());
        }
        const summary = merged.summary();
        const sum = phaseNames.reduce((total, name) => total + summary[name].mean, 0);
        expect(summary.sampled).toBe(all.length);
        // Each is recorded in whole nanoseconds.
        expect(Math.abs(sum - summary.whole.mean)).toBeLessThan(0.004);
      }),
      { numRuns: 10 },
    );
  });
});
