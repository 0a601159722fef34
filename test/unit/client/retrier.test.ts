// Trying again after a refusal: when, how often, and what ends it.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ResolvedRetryOptions } from '../../../src/client/options.js';
import { Retrier } from '../../../src/client/retrier.js';
import { VerbenaError, type VerbenaErrorCode } from '../../../src/errors.js';

const forever = { deadline: Infinity };

function refusal(
  retryAfterMs: number | undefined,
  code: VerbenaErrorCode = 'ERR_VERBENA_RESOURCE_EXHAUSTED',
): VerbenaError {
  return new VerbenaError(code, 'full', { retryAfterMs });
}

function retrierWith(options: Partial<ResolvedRetryOptions> = {}, random = 0): Retrier {
  const all = { maxRetries: 3, maxDelayMs: 10_000, budgetPercent: 10, ...options };
  return new Retrier(all, () => random);
}

/** Rejects with each of the errors in turn, then resolves; notes when it was called. */
function failing(errors: readonly VerbenaError[]): {
  calls: number[];
  attempt: () => Promise<string>;
} {
  const calls: number[] = [];
  const attempt = (): Promise<string> => {
    const error = errors[calls.push(performance.now()) - 1];
    return error === undefined ? Promise.resolve('done') : Promise.reject(error);
  };
  return { calls, attempt };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** What becomes of the promise once all timers have fired. */
async function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  const outcome = promise.catch((error: unknown) => error);
  await vi.runAllTimersAsync();
  return outcome;
}

describe('Retrier', () => {
  it.each([
    [0, 100],
    [0.5, 125],
    [1, 150],
  ])('waits as long as it is told, and up to half as long again (%d)', async (random, delayMs) => {
    const { calls, attempt } = failing([refusal(100)]);
    const retrier = retrierWith({}, random);
    expect(await outcomeOf(retrier.run(attempt, forever))).toBe('done');
    expect((calls[1] ?? 0) - (calls[0] ?? 0)).toBe(delayMs);
    expect(retrier.counts).toEqual({ retries: 1, retriesDenied: 0 });
  });

  it.each([
    ['what is no refusal', refusal(1, 'ERR_VERBENA_HANDLER')],
    ['a refusal that names no time', refusal(undefined)],
    ['a refusal that names too long a time', refusal(10_001)],
  ])('does not try %s again', async (_, error) => {
    const { calls, attempt } = failing([error]);
    expect(await outcomeOf(retrierWith().run(attempt, forever))).toBe(error);
    expect(calls).toHaveLength(1);
  });

  it('does not wait for another attempt that there will not be', async () => {
    const { calls, attempt } = failing([refusal(1)]);
    const run = retrierWith().run(attempt, { deadline: Infinity, mayRetry: () => false });
    expect(await outcomeOf(run)).toMatchObject({ retryAfterMs: 1 });
    expect(calls).toHaveLength(1);
  });

  it('gives up after so many retries, with the last refusal', async () => {
    const errors = [1, 2, 3, 4, 5].map((ms) => refusal(ms));
    const { calls, attempt } = failing(errors);
    expect(await outcomeOf(retrierWith({ maxRetries: 2 }).run(attempt, forever))).toBe(errors[2]);
    expect(calls).toHaveLength(3);
  });

  it('does not wait beyond the time that there is', async () => {
    const { calls, attempt } = failing([refusal(100), refusal(100)]);
    const deadline = performance.now() + 150;
    expect(await outcomeOf(retrierWith().run(attempt, { deadline }))).toMatchObject({
      retryAfterMs: 100,
    });
    expect(calls).toHaveLength(2);
  });

  it('stops when retries have used up their share, and counts those denied', async () => {
    const retrier = retrierWith({ maxRetries: 1, budgetPercent: 0 });
    for (let request = 0; request < 15; request++) {
      await outcomeOf(retrier.run(failing([refusal(1), refusal(1)]).attempt, forever));
    }
    expect(retrier.counts).toEqual({ retries: 10, retriesDenied: 5 });
  });

  it('ends a wait when it is aborted, or stopped', async () => {
    const stop = new AbortController();
    const retrier = retrierWith();
    const { calls, attempt } = failing([refusal(5000)]);
    const aborted = retrier.run(attempt, { deadline: Infinity, signal: stop.signal });
    const outcome = aborted.catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(10);
    stop.abort('why');
    expect(await outcome).toMatchObject({ code: 'ERR_VERBENA_ABORTED', cause: 'why' });
    const error = refusal(5000);
    const stopped = retrier
      .run(failing([error]).attempt, forever)
      .catch((thrown: unknown) => thrown);
    await vi.advanceTimersByTimeAsync(10);
    retrier.stop();
    expect(await stopped).toBe(error);
    expect(vi.getTimerCount()).toBe(0);
    expect(calls).toHaveLength(1);
    expect(retrier.counts.retries).toBe(0);
  });
});
