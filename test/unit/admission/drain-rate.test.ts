// The rate at which something gets done of late, and the waits that follow from it.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DrainRate } from '../../../src/admission/drain-rate.js';

/** One that has noted `perSecond` each second for so long, evenly. */
function steady(perSecond: number, seconds: number): { rate: DrainRate; endMs: number } {
  const rate = new DrainRate();
  const stepMs = 1000 / perSecond;
  let now = 5000;
  for (; now < 5000 + seconds * 1000; now += stepMs) rate.note(now);
  return { rate, endMs: now };
}

describe('DrainRate', () => {
  it('finds a steady rate, within a count, however long it lasts', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 5, max: 500 }),
        fc.double({ min: 0.5, max: 5, noNaN: true }),
        (perSecond, seconds) => {
          const { rate, endMs } = steady(perSecond, seconds);
          expect(Math.abs(rate.perSecond(endMs) - perSecond)).toBeLessThan(perSecond * 0.05 + 2);
        },
      ),
    );
  });

  it('forgets what was done more than two seconds ago', () => {
    const { rate, endMs } = steady(100, 3);
    expect(rate.perSecond(endMs + 2000)).toBe(0);
  });

  it('does not take the time before a start, or after a pause, for slowness', () => {
    const { rate, endMs } = steady(100, 0.2);
    expect(rate.perSecond(endMs - 10)).toBeCloseTo(100, 0);
    const again = endMs + 60_000;
    for (let step = 0; step < 20; step++) rate.note(again + step * 10);
    expect(rate.perSecond(again + 190)).toBeCloseTo(100, 0);
  });

  it('tells a wait in proportion to what is ahead', () => {
    const { rate, endMs } = steady(100, 3);
    expect(rate.msUntil(50, endMs)).toBeGreaterThanOrEqual(490);
    expect(rate.msUntil(50, endMs)).toBeLessThanOrEqual(510);
    expect(rate.msUntil(0, endMs)).toBe(1);
  });

  it('takes one, or two at once, for no rate to count on', () => {
    const rate = new DrainRate();
    rate.note(9000);
    expect(rate.perSecond(9000)).toBe(0);
    expect(rate.msUntil(1, 9001)).toBe(1000);
    rate.note(9001);
    expect(rate.perSecond(9001)).toBeLessThanOrEqual(10);
  });

  it('tells a wait within bounds when nothing, or next to nothing, gets done', () => {
    const idle = new DrainRate();
    expect(idle.msUntil(1000, 9000)).toBe(1000);
    const { rate, endMs } = steady(5, 2);
    expect(rate.msUntil(1_000_000, endMs)).toBe(30_000);
  });
});
