// When a flush is given up, and when it is not the device that is late.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FLUSH_TIMEOUT_MS, FlushWatch } from '../../../src/rdma/flush-watch.js';

/** What becomes of a flush, looked at without waiting for it. */
function outcomeOf(finished: Promise<void>): { now: string } {
  const outcome = { now: 'pending' };
  finished.then(
    () => (outcome.now = 'flushed'),
    (error: unknown) => (outcome.now = String(error)),
  );
  return outcome;
}

describe('the deadline of flushes', () => {
  let fullBatches = 0;
  let watch: FlushWatch;

  beforeEach(() => {
    vi.useFakeTimers();
    fullBatches = 0;
    watch = new FlushWatch(() => fullBatches);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Completions wait for this thread all the while. */
  async function beBehind(timeMs: number): Promise<void> {
    for (let passed = 0; passed < timeMs; passed += 50) {
      fullBatches++;
      await vi.advanceTimersByTimeAsync(50);
    }
  }

  it('is met by a device that answers in time', async () => {
    const { finished, finish } = watch.begin('client-1');
    const outcome = outcomeOf(finished);
    await vi.advanceTimersByTimeAsync(FLUSH_TIMEOUT_MS - 51);
    expect(outcome.now).toBe('pending');
    finish();
    await vi.advanceTimersByTimeAsync(2 * FLUSH_TIMEOUT_MS);
    expect(outcome.now).toBe('flushed');
  });

  it('gives up a device that owes the flush, and names its owner', async () => {
    const outcome = outcomeOf(watch.begin('client-1').finished);
    await vi.advanceTimersByTimeAsync(FLUSH_TIMEOUT_MS);
    expect(outcome.now).toMatch(/client-1: the device did not flush the queue pair within 1000 ms/);
  });

  it('waits while this thread has more completions than it can handle', async () => {
    const { finished, finish } = watch.begin('client-1');
    const outcome = outcomeOf(finished);
    await beBehind(10 * FLUSH_TIMEOUT_MS);
    expect(outcome.now).toBe('pending');
    finish();
    await vi.advanceTimersByTimeAsync(0);
    expect(outcome.now).toBe('flushed');
  });

  it('does not wait for ever behind the completions of others', async () => {
    const outcome = outcomeOf(watch.begin('client-1').finished);
    await beBehind(31 * FLUSH_TIMEOUT_MS);
    expect(outcome.now).toMatch(/did not flush/);
  });

  it('is for each flush by itself', async () => {
    const early = watch.begin('client-1');
    const outcomes = [outcomeOf(early.finished)];
    await vi.advanceTimersByTimeAsync(FLUSH_TIMEOUT_MS / 2);
    outcomes.push(outcomeOf(watch.begin('client-2').finished));
    await vi.advanceTimersByTimeAsync(FLUSH_TIMEOUT_MS / 2);
    expect(outcomes.map(({ now }) => now)).toEqual([expect.stringMatching('client-1'), 'pending']);
    await vi.advanceTimersByTimeAsync(FLUSH_TIMEOUT_MS / 2);
    expect(outcomes[1]?.now).toMatch('client-2');
  });

  it('leaves no timer behind', async () => {
    const flushes = [watch.begin('client-1'), watch.begin('client-2')];
    expect(vi.getTimerCount()).toBe(1);
    for (const { finish } of flushes) finish();
    await Promise.all(flushes.map(({ finished }) => finished));
    expect(vi.getTimerCount()).toBe(0);
  });
});
