// How busy a process is: without the time that it only watched for completions.
import { describe, expect, it } from 'vitest';
import { CpuMeter, cpuPercent, memoryOfMachine } from '../../../src/server/load-meter.js';

const start = { atMs: 0, loopActiveMs: 0, spinMs: 0, cpuMs: 0 };

describe('cpuPercent', () => {
  it.each([
    ['nothing, when idle', { loopActiveMs: 0, spinMs: 0, cpuMs: 0 }, 0],
    ['the event loop', { loopActiveMs: 600, spinMs: 0, cpuMs: 600 }, 60],
    ['nothing, when it only spins', { loopActiveMs: 1000, spinMs: 1000, cpuMs: 1000 }, 0],
    [
      'the rest, when it spins part of the time',
      { loopActiveMs: 1000, spinMs: 700, cpuMs: 1000 },
      30,
    ],
    ['the cores, when other threads use them', { loopActiveMs: 100, spinMs: 0, cpuMs: 3600 }, 90],
    ['at most everything', { loopActiveMs: 1200, spinMs: 0, cpuMs: 9000 }, 100],
    ['nothing below 0', { loopActiveMs: 0, spinMs: 10, cpuMs: 0 }, 0],
  ])('is %s', (_, counters, percent) => {
    expect(cpuPercent(start, { atMs: 1000, ...counters }, 4)).toBeCloseTo(percent);
  });

  it('is 0 over no time', () => {
    expect(cpuPercent(start, start, 4)).toBe(0);
  });
});

describe('CpuMeter', () => {
  it('waits for five seconds of readings, then follows the last five', () => {
    let now = { ...start };
    const meter = new CpuMeter(() => now, 2);
    const read = (busyMs: number): number => {
      const { atMs, loopActiveMs } = now;
      now = { ...now, atMs: atMs + 500, loopActiveMs: loopActiveMs + busyMs };
      return meter.percent();
    };
    expect(Array.from({ length: 10 }, () => read(500))).toEqual(Array(10).fill(0));
    expect(read(500)).toBe(100);
    expect(Array.from({ length: 5 }, () => read(0)).at(-1)).toBe(50);
    expect(Array.from({ length: 5 }, () => read(0)).at(-1)).toBe(0);
  });
});

it('knows how much memory there is', () => {
  expect(memoryOfMachine()).toBeGreaterThan(2 ** 20);
});
