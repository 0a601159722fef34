// The planned times of an open loop.
import { describe, expect, it } from 'vitest';
import { Schedule, plannedTimes, type ScheduleOptions } from '../../../src/bench/arrivals.js';
import { randomFrom } from '../../../src/random.js';

function options(changes: Partial<ScheduleOptions>): ScheduleOptions {
  return {
    rate: 1000,
    arrivals: 'constant',
    beginMs: performance.now(),
    endMs: Infinity,
    count: Infinity,
    countFromMs: 0,
    phase: 0,
    random: randomFrom(1),
    isIdle: () => true,
    ...changes,
  };
}

async function takeAll(schedule: Schedule): Promise<number[]> {
  const times: number[] = [];
  for (;;) {
    const plannedMs = await schedule.next();
    if (plannedMs === undefined) return times;
    expect(plannedMs).toBeLessThanOrEqual(performance.now());
    times.push(plannedMs);
  }
}

describe('a schedule', () => {
  it('hands out evenly spaced times, none before it has come', async () => {
    const beginMs = performance.now();
    const times = await takeAll(new Schedule(options({ beginMs, count: 50, phase: 0.5 })));
    times.forEach((time, index) => expect(time).toBeCloseTo(beginMs + index + 0.5, 6));
    expect(times).toHaveLength(50);
  });

  it('hands each time out once, to whoever asks first', async () => {
    const schedule = new Schedule(options({ count: 60 }));
    const shares = await Promise.all([takeAll(schedule), takeAll(schedule), takeAll(schedule)]);
    const all = shares.flat();
    expect(all).toHaveLength(60);
    expect(new Set(all).size).toBe(60);
  });

  it('ends with its time, and says what nobody took', async () => {
    const beginMs = performance.now();
    const schedule = new Schedule(options({ beginMs, endMs: beginMs + 100 }));
    for (let taken = 0; taken < 10; taken += 1) await schedule.next();
    while (performance.now() < beginMs + 100);
    expect(await schedule.next()).toBeUndefined();
    expect(schedule.unsent()).toBe(90);
  });

  it('counts only what is planned after the warm-up', async () => {
    const beginMs = performance.now();
    const times = await takeAll(
      new Schedule(options({ beginMs, countFromMs: beginMs + 10.5, count: 5 })),
    );
    expect(times.filter((time) => time >= beginMs + 10.5)).toHaveLength(5);
    expect(times).toHaveLength(16);
  });

  it('plans as many as the rate says, not one more', () => {
    for (let rate = 1; rate < 1000; rate += 1) {
      const beginMs = 1234.5678 + rate / 7;
      const plan = plannedTimes(options({ beginMs, rate }));
      const times = Array.from({ length: 3 * rate + 2 }, plan);
      const within = times.filter((time) => time < beginMs + 3000 - 1e-6);
      expect(within).toHaveLength(3 * rate);
    }
  });

  it('lets everyone go when it is stopped', async () => {
    const schedule = new Schedule(options({ rate: 0.001, phase: 0.5 }));
    const waiting = [schedule.next(), schedule.next()];
    schedule.stop();
    expect(await Promise.all(waiting)).toEqual([undefined, undefined]);
  });

  it('has exponential gaps with the mean of the rate when it is Poisson', () => {
    const plan = plannedTimes(options({ arrivals: 'poisson', rate: 200, beginMs: 0 }));
    let lastMs = 0;
    const gaps = Array.from({ length: 20_000 }, () => {
      const gapMs = plan() - lastMs;
      lastMs += gapMs;
      return gapMs;
    });
    const mean = gaps.reduce((sum, value) => sum + value, 0) / gaps.length;
    expect(mean).toBeGreaterThan(4.8);
    expect(mean).toBeLessThan(5.2);
    const longer = gaps.filter((value) => value > 5).length / gaps.length;
    expect(longer).toBeCloseTo(Math.exp(-1), 1);
  });
});
