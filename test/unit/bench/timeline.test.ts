// The seconds of a run: what the threads report in pieces, put where it happened.
import { describe, expect, it } from 'vitest';
import { Latencies } from '../../../src/bench/histogram.js';
import type { Interval } from '../../../src/bench/messages.js';
import { Timeline, type Second } from '../../../src/bench/timeline.js';

const range = { highestLatencyMs: 1000, digits: 3 };

function interval(fromMs: number, toMs: number, operations: number): Interval {
  const latencies = new Latencies(range);
  for (let each = 0; each < operations; each += 1) latencies.record(1);
  return {
    ...{ fromMs, toMs, operations, bytes: operations * 10, errors: {} },
    ...{ warmUpOperations: 0, warmUpErrors: 0, latencies: latencies.take() },
  };
}

describe('a timeline', () => {
  it('has in each second what happened then, at the rate at which it happened', () => {
    const shown: Second[] = [];
    const timeline = new Timeline(range, 2, (second) => shown.push(second));
    // Two threads, 100 operations in each quarter of a second, reported a little unevenly.
    for (let quarter = 0; quarter < 9; quarter += 1) {
      for (const lateMs of [0, 40]) {
        const from = 5000 + quarter * 250 + (quarter === 0 ? 0 : lateMs);
        timeline.add(interval(from, 5250 + quarter * 250 + lateMs, 100), 5000);
      }
    }
    timeline.closeUntil(7000);
    expect(shown.map(({ at, operations }) => [at, operations])).toEqual([
      [1, 800],
      [2, 800],
    ]);
    timeline.closeUntil(Infinity);
    expect(timeline.seconds).toHaveLength(3);
    const last = timeline.seconds.at(-1);
    expect(last).toMatchObject({ at: 2.29, operations: 200, seconds: 0.25, bytes: 2000 });
    for (const { operations, seconds } of timeline.seconds) {
      expect(Math.abs(operations / seconds - 800)).toBeLessThan(40);
    }
  });

  it('measures no time before the warm-up is over', () => {
    const timeline = new Timeline(range, 1, () => undefined);
    for (const at of [0, 500, 1000, 1500]) timeline.add(interval(at, at + 500, 0), 1250);
    timeline.closeUntil(Infinity);
    expect(timeline.seconds.map(({ seconds }) => seconds)).toEqual([0, 0.75]);
  });

  it('loses nothing that comes when its second was shown already', () => {
    const timeline = new Timeline(range, 1, () => undefined);
    timeline.add(interval(0, 900, 5), 0);
    timeline.closeUntil(1000);
    timeline.add(interval(900, 1000, 7), 0);
    timeline.closeUntil(Infinity);
    expect(timeline.seconds.map(({ operations }) => operations)).toEqual([5, 7]);
  });

  it('has whole seconds up to the last, however late their reports are', () => {
    const timeline = new Timeline(range, 1, () => undefined);
    timeline.add(interval(0, 900, 1), 0);
    timeline.closeUntil(1500);
    timeline.add(interval(900, 950, 1), 0);
    timeline.closeUntil(2500);
    timeline.add(interval(950, 2300, 1), 0);
    timeline.closeUntil(Infinity);
    expect(timeline.seconds.map(({ at }) => at)).toEqual([1, 2, 2.3]);
  });
});
