// What one thread counts of its operations, handed over in intervals.
import { Latencies } from './histogram.js';
import type { Interval } from './messages.js';
import { PhaseHistograms, type PhaseDurations } from './phases.js';
import type { Load } from './plan.js';

/** Milliseconds of the system's monotonic clock, which all processes share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export class Meter {
  readonly #latencies: Latencies;
  readonly #phases: PhaseHistograms | undefined;
  #fromMs = 0;
  #operations = 0;
  #bytes = 0;
  #errors: Record<string, number> = {};
  #warmUpOperations = 0;
  #warmUpErrors = 0;
  /** All of them, over the whole run. */
  #begun = 0;
  #ended = 0;

  constructor(load: Load) {
    this.#latencies = new Latencies(load);
    if (load.phaseSample !== undefined) this.#phases = new PhaseHistograms(load);
  }

  get underWay(): number {
    return this.#begun - this.#ended;
  }

  /** From now on time counts. */
  begin(): void {
    this.#fromMs = monotonicMs();
  }

  onBegun(): void {
    this.#begun += 1;
  }

  onDone(isMeasured: boolean, latencyMs: number, bytes: number): void {
    this.#ended += 1;
    if (!isMeasured) {
      this.#warmUpOperations += 1;
      return;
    }
    this.#operations += 1;
    this.#bytes += bytes;
    this.#latencies.record(latencyMs);
  }

  onPhases(durations: PhaseDurations): void {
    this.#phases?.record(durations);
  }

  onFailed(isMeasured: boolean, code: string): void {
    this.#ended += 1;
    if (isMeasured) this.#errors[code] = (this.#errors[code] ?? 0) + 1;
    else this.#warmUpErrors += 1;
  }

  take(): Interval {
    const toMs = monotonicMs();
    const interval = {
      fromMs: this.#fromMs,
      toMs,
      operations: this.#operations,
      bytes: this.#bytes,
      errors: this.#errors,
      warmUpOperations: this.#warmUpOperations,
      warmUpErrors: this.#warmUpErrors,
      latencies: this.#latencies.take(),
      phases: this.#phases?.take(),
    };
    this.#fromMs = toMs;
    this.#operations = 0;
    this.#bytes = 0;
    this.#errors = {};
    this.#warmUpOperations = 0;
    this.#warmUpErrors = 0;
    return interval;
  }
}
