// The ledger of a send queue: in order, bounded, and never without a completion to come.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WorkQueue } from '../../../src/connection/work-queue.js';

class Recorder {
  readonly retired: { ref: number; failed: boolean }[] = [];

  onRetired(ref: number, failed: boolean): void {
    this.retired.push({ ref, failed });
  }
}

describe('WorkQueue', () => {
  it('retires everything once, in order, and always has a completion to wait for', () => {
    const operations = fc.array(fc.record({ push: fc.boolean(), mustSignal: fc.boolean() }), {
      maxLength: 400,
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 40 }),
        fc.integer({ min: 1, max: 60 }),
        operations,
        (depth, signalEvery, steps) => {
          const queue = new WorkQueue(depth, signalEvery);
          const recorder = new Recorder();
          const signaled: number[] = [];
          let pushed = 0;
          for (const { push, mustSignal } of steps) {
            if (push && queue.room > 0) {
              const id = queue.push(pushed++ % 1000, mustSignal);
              if (queue.lastSignaled) signaled.push(id);
            } else {
              const id = signaled.shift();
              if (id !== undefined) expect(queue.retire(id, false, recorder)).toBe(true);
            }
            // A full queue that no completion would ever empty is a deadlock.
            if (queue.room === 0) expect(signaled.length).toBeGreaterThan(0);
          }
          expect(recorder.retired.map(({ ref }) => ref)).toEqual(
            recorder.retired.map((_, position) => position % 1000),
          );
          expect(queue.outstanding).toBe(pushed - recorder.retired.length);
        },
      ),
    );
  });

  it('retires what went without a completion along with the next that has one', () => {
    const queue = new WorkQueue(8, 3);
    const recorder = new Recorder();
    queue.push(10, false);
    queue.push(11, false);
    const id = queue.push(12, false);
    expect(queue.lastSignaled).toBe(true);
    expect(queue.retire(id, true, recorder)).toBe(true);
    expect(recorder.retired).toEqual([
      { ref: 10, failed: false },
      { ref: 11, failed: false },
      { ref: 12, failed: true },
    ]);
  });

  it('asks for a completion at least every half of its depth', () => {
    const queue = new WorkQueue(8, 100);
    const signals = Array.from({ length: 8 }, () => {
      queue.push(0, false);
      return queue.lastSignaled;
    });
    expect(signals).toEqual([false, false, false, true, false, false, false, true]);
  });

  it('never holds more than its depth', () => {
    const queue = new WorkQueue(2, 1);
    queue.push(0, false);
    queue.push(0, false);
    expect(() => queue.push(0, false)).toThrow('full');
    expect(queue.outstanding).toBe(2);
  });

  it('knows no identifier that is not outstanding', () => {
    const queue = new WorkQueue(4, 1);
    const recorder = new Recorder();
    const id = queue.push(0, true);
    expect(queue.retire(id + 1, false, recorder)).toBe(false);
    expect(queue.retire(id, false, recorder)).toBe(true);
    expect(queue.retire(id, false, recorder)).toBe(false);
    expect(recorder.retired).toHaveLength(1);
  });
});
