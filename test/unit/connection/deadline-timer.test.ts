// One timer for many deadlines.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DeadlineTimer } from '../../../src/connection/deadline-timer.js';

describe('DeadlineTimer', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it('fires for the earliest deadline, then for what is left', () => {
    const start = performance.now();
    const fired: number[] = [];
    const left = [start + 30, start + 70];
    const timer = new DeadlineTimer((now) => {
      fired.push(Math.round(now - start));
      return left.shift() ?? Infinity;
    });
    timer.arm(start + 50);
    timer.arm(start + 10);
    timer.arm(start + 90);
    vi.advanceTimersByTime(200);
    expect(fired).toEqual([10, 30, 70]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('does not fire after it was stopped, and may be armed again', () => {
    let fired = 0;
    const timer = new DeadlineTimer(() => {
      fired++;
      return Infinity;
    });
    timer.arm(performance.now() + 10);
    timer.stop();
    vi.advanceTimersByTime(50);
    expect(fired).toBe(0);
    timer.arm(performance.now() + 10);
    vi.advanceTimersByTime(50);
    expect(fired).toBe(1);
  });
});
