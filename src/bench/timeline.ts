// What the threads of a run report, put into the seconds in which it happened.
import type { HistogramRange } from './histogram.js';
import type { Interval } from './messages.js';
import { Totals } from './tally.js';

const secondMs = 1000;

/** What happened in a second, or in what the last one had of it. */
export interface Second {
  /** Seconds since the run began, when this one ended. */
  readonly at: number;
  /** Of it measured time, the mean of all threads: none while they warm up. */
  readonly seconds: number;
  readonly operations: number;
  readonly bytes: number;
  readonly errors: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

export class Timeline {
  readonly #range: HistogramRange;
  readonly #threads: number;
  /** The last of the seconds that are still growing, by number. */
  readonly #open = new Map<number, { readonly totals: Totals; measuredMs: number }>();
  readonly #done: Second[] = [];
  readonly #onSecond: (second: Second, totals: Totals) => void;
  #beganMs = Infinity;

  constructor(
    range: HistogramRange,
    threads: number,
    onSecond: (second: Second, totals: Totals) => void,
  ) {
    this.#range = range;
    this.#threads = threads;
    this.#onSecond = onSecond;
  }

  get seconds(): readonly Second[] {
    return this.#done;
  }

  /** Adds what a thread did, of which what happened before `measuredFromMs` was its warm-up. */
  add(interval: Interval, measuredFromMs: number): void {
    const { fromMs, toMs } = interval;
    this.#beganMs = Math.min(this.#beganMs, fromMs);
    const middleMs = (fromMs + toMs) / 2 - this.#beganMs;
    // What comes late goes into the first second that nobody has seen yet.
    const number = Math.max(Math.floor(middleMs / secondMs), this.#done.length);
    const second = this.#open.get(number) ?? { totals: new Totals(this.#range), measuredMs: 0 };
    this.#open.set(number, second);
    second.totals.add(interval);
    second.measuredMs += Math.max(0, toMs - Math.max(fromMs, measuredFromMs));
  }

  /** Closes the seconds that have ended by `nowMs`, all when it is Infinity: the run is over. */
  closeUntil(nowMs: number): void {
    const last = Math.max(-1, ...this.#open.keys());
    for (let next = this.#done.length; next <= last && this.#endMs(next) <= nowMs; next += 1) {
      this.#close(nowMs === Infinity && next === last);
    }
  }

  #endMs(number: number): number {
    return this.#beganMs + (number + 1) * secondMs;
  }

  #close(isLast: boolean): void {
    const number = this.#done.length;
    const { totals, measuredMs } = this.#open.get(number) ?? {
      totals: new Totals(this.#range),
      measuredMs: 0,
    };
    this.#open.delete(number);
    const { operations, bytes, errors, latencies } = totals;
    const { p50, p99, max } = latencies.summary();
    // The last one may have ended before its time; what came late into it, before it began.
    const reachedMs = isLast ? Math.max(totals.toMs, this.#endMs(number - 1)) : Infinity;
    const endMs = Math.min(this.#endMs(number), reachedMs);
    const second = {
      at: (endMs - this.#beganMs) / secondMs,
      seconds: measuredMs / this.#threads / secondMs,
      ...{ operations, bytes, errors, p50Us: p50, p99Us: p99, maxUs: max },
    };
    this.#done.push(second);
    this.#onSecond(second, totals);
  }
}
