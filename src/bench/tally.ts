// What is known of the threads of a run, and of all of them together.
import { Latencies, type HistogramRange } from './histogram.js';
import type { Interval, ThreadEnd } from './messages.js';
import type { PhaseHistograms } from './phases.js';

/** Sums of intervals. */
export class Totals {
  readonly latencies: Latencies;
  readonly errorCodes: Record<string, number> = {};
  operations = 0;
  bytes = 0;
  errors = 0;
  warmUpOperations = 0;
  warmUpErrors = 0;
  /** Milliseconds of the monotonic clock: from the first interval to the last. */
  fromMs = Infinity;
  toMs = -Infinity;

  constructor(
    range: HistogramRange,
    readonly phases?: PhaseHistograms,
  ) {
    this.latencies = new Latencies(range);
  }

  add(interval: Interval): void {
    this.latencies.add(interval.latencies);
    if (interval.phases !== undefined) this.phases?.add(interval.phases);
    this.operations += interval.operations;
    this.bytes += interval.bytes;
    this.warmUpOperations += interval.warmUpOperations;
    this.warmUpErrors += interval.warmUpErrors;
    this.fromMs = Math.min(this.fromMs, interval.fromMs);
    this.toMs = Math.max(this.toMs, interval.toMs);
    for (const [code, count] of Object.entries(interval.errors)) {
      this.errorCodes[code] = (this.errorCodes[code] ?? 0) + count;
      this.errors += count;
    }
  }

  /** Of which nothing was measured while it warmed up. */
  seconds(warmUpMs: number): number {
    return this.toMs < this.fromMs ? 0 : Math.max(0, this.toMs - this.fromMs - warmUpMs) / 1000;
  }
}

export class ThreadTally extends Totals {
  device: string | undefined;
  /** Why it could not begin, or died. */
  failure: { readonly code: string | undefined; readonly message: string } | undefined;
  end: ThreadEnd | undefined;

  constructor(
    readonly clientId: number,
    readonly client: string,
    range: HistogramRange,
  ) {
    super(range);
  }

  /** Nothing more will be heard of it. */
  get isOver(): boolean {
    return this.end !== undefined || this.failure !== undefined;
  }
}
