// Phases of a request: they add up to its whole, and each has what it says.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  PhaseTrace,
  encodeHandlerTime,
  phasesOf,
  type RequestPhases,
} from '../../../src/connection/request-phases.js';

const sum = (phases: RequestPhases): number =>
  (Object.values(phases) as number[]).reduce((total, ms) => total + ms, 0);

describe('the phases of a request', () => {
  it('are never below 0 and add up to the whole, whatever the server says', () => {
    const gap = fc.integer({ min: 0, max: 1_000_000 });
    const gaps = fc.tuple(gap, gap, gap, fc.option(gap, { nil: undefined }));
    fc.assert(
      fc.property(gaps, gap, ([queued, away, after, acknowledging], handlerMs) => {
        const postedMs = 1000 + queued;
        const answeredMs = postedMs + away;
        const phases = phasesOf({
          ...{ askedMs: 1000, postedMs, answeredMs, doneMs: answeredMs + after, handlerMs },
          acknowledgedMs: acknowledging === undefined ? undefined : postedMs + acknowledging,
        });
        for (const ms of Object.values(phases)) expect(ms).toBeGreaterThanOrEqual(0);
        expect(sum(phases)).toBe(queued + away + after);
      }),
    );
  });

  it('have half of the acknowledgement each way, and the rest at the server', () => {
    const times = { askedMs: 0, postedMs: 3, answeredMs: 113, doneMs: 120, handlerMs: 20 };
    expect(phasesOf({ ...times, acknowledgedMs: 13 })).toEqual({
      ...{ clientQueueMs: 3, wireMs: 5, serverQueueMs: 80, handlerMs: 20, backMs: 12 },
    });
  });

  it('have no wait at the server when the acknowledgement came no sooner than the answer', () => {
    const times = { askedMs: 0, postedMs: 0, answeredMs: 50, doneMs: 50, handlerMs: 10 };
    expect(phasesOf({ ...times, acknowledgedMs: undefined })).toEqual({
      ...{ clientQueueMs: 0, wireMs: 20, serverQueueMs: 0, handlerMs: 10, backMs: 20 },
    });
  });

  it('are not told of an answer that did not say how long its handler took', () => {
    const told: RequestPhases[] = [];
    const [silent, spoken] = [0, 1].map(() => new PhaseTrace((phases) => told.push(phases)));
    for (const trace of [silent, spoken]) trace?.onPosted();
    spoken?.onAnswered(0);
    silent?.finish();
    expect(told).toEqual([]);
    spoken?.finish();
    expect(told).toHaveLength(1);
  });

  it('know the time of a handler to 100 ns, up to what the header holds', () => {
    expect([0, 0.0001, 1.23456, 1e9].map(encodeHandlerTime)).toEqual([0, 1, 12346, 2 ** 32 - 1]);
  });
});
