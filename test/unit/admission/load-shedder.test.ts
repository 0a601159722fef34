// When load is shed: each resource at its threshold, and not before it has been low for a while.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  LoadShedder,
  loadResources,
  type LoadReading,
  type LoadResource,
} from '../../../src/admission/load-shedder.js';
import { Threshold } from '../../../src/admission/threshold.js';

const thresholds = { cpu: 90, memory: 80, queue: 80 };
const calm: LoadReading = { cpu: 0, memory: 0, queue: 0 };

function readAll(shedder: LoadShedder, readings: readonly LoadReading[]): boolean[] {
  return readings.map((reading) => {
    shedder.read(reading);
    return shedder.isActive;
  });
}

/** So many readings of one resource, the others being idle. */
function readings(resource: LoadResource, ...percents: number[]): LoadReading[] {
  return percents.map((percent) => ({ ...calm, [resource]: percent }));
}

describe('Threshold', () => {
  it('changes only after so many readings in a row, whatever they are', () => {
    const options = { onAt: 80, offBelow: 70, readingsOn: 2, readingsOff: 3 };
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 60, max: 90 }), { maxLength: 60 }), (values) => {
        const threshold = new Threshold(options);
        let wasOn = false;
        for (const [index, value] of values.entries()) {
          const changed = threshold.read(value);
          expect(threshold.isOn).toBe(changed ? !wasOn : wasOn);
          const needed = wasOn ? options.readingsOff : options.readingsOn;
          const last = values.slice(Math.max(0, index + 1 - needed), index + 1);
          const allAgainst = wasOn
            ? last.every((each) => each < options.offBelow)
            : last.every((each) => each >= options.onAt);
          if (changed) expect(last.length === needed && allAgainst).toBe(true);
          wasOn = threshold.isOn;
        }
        const tail = Array.from({ length: 3 }, () => threshold.read(0));
        expect(tail.filter(Boolean)).toHaveLength(wasOn ? 1 : 0);
      }),
    );
  });
});

describe('LoadShedder', () => {
  it.each([
    ['cpu', [89, 90], [false, true]],
    ['memory', [79, 80], [false, true]],
    ['queue', [80, 79, 80, 80], [false, false, false, true]],
  ] as const)('begins for %s at its threshold', (resource, percents, active) => {
    const shedder = new LoadShedder(thresholds);
    expect(readAll(shedder, readings(resource, ...percents))).toEqual(active);
    expect(shedder.reasons).toEqual([resource]);
    expect(shedder.stats().timesOn).toEqual({ cpu: 0, memory: 0, queue: 0, [resource]: 1 });
  });

  it.each([
    ['cpu', 80],
    ['memory', 70],
    ['queue', 70],
  ] as const)('ends for %s ten points lower, after four readings', (resource, low) => {
    const shedder = new LoadShedder(thresholds);
    readAll(shedder, readings(resource, 100, 100));
    expect(readAll(shedder, readings(resource, low, low, low, low, low))).not.toContain(false);
    const below = low - 1;
    expect(readAll(shedder, readings(resource, below, below, below, low, below))).toEqual(
      Array(5).fill(true),
    );
    expect(readAll(shedder, readings(resource, below, below, below))).toEqual([true, true, false]);
  });

  it('tells each change once, with the reading', () => {
    const shedder = new LoadShedder(thresholds);
    expect(shedder.read({ cpu: 95, memory: 85, queue: 0 })).toEqual([
      { resource: 'cpu', isOn: true, percent: 95 },
      { resource: 'memory', isOn: true, percent: 85 },
    ]);
    expect(shedder.read({ cpu: 95, memory: 0, queue: 0 })).toEqual([]);
    for (let times = 0; times < 2; times++) shedder.read({ cpu: 95, memory: 0, queue: 0 });
    expect(shedder.read({ cpu: 95, memory: 1, queue: 0 })).toEqual([
      { resource: 'memory', isOn: false, percent: 1 },
    ]);
    expect(shedder.reasons).toEqual(['cpu']);
  });

  it('never sheds at a threshold of 100', () => {
    const shedder = new LoadShedder({ cpu: 100, memory: 100, queue: 100 });
    const most = { cpu: 100, memory: 1000, queue: 100 };
    expect(readAll(shedder, Array(10).fill(most) as LoadReading[])).not.toContain(true);
  });

  it('follows new thresholds, those that end it among them', () => {
    const shedder = new LoadShedder(thresholds);
    readAll(shedder, readings('cpu', 95));
    shedder.thresholds = { cpu: 100, memory: 100, queue: 100 };
    expect(readAll(shedder, readings('cpu', 95, 95, 95, 95)).at(-1)).toBe(false);
    shedder.thresholds = { ...thresholds, cpu: 50 };
    expect(readAll(shedder, readings('cpu', 50))).toEqual([true]);
  });

  it('names every resource in its statistics', () => {
    expect(Object.keys(new LoadShedder(thresholds).stats().timesOn)).toEqual(loadResources);
  });
});
