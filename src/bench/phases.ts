// Where the time of sampled operations went: a histogram for each phase, and one for the whole.
import type { RequestPhases } from '../index.js';
import { Latencies, type HistogramRange, type LatencyUs, type SparseCounts } from './histogram.js';

export const phaseNames = ['clientQueue', 'wire', 'serverQueue', 'handler', 'back'] as const;
export type PhaseName = (typeof phaseNames)[number];

const partNames = [...phaseNames, 'whole'] as const;
type PartName = (typeof partNames)[number];

/** Of one operation, in milliseconds; the phases add up to the whole. */
export type PhaseDurations = Readonly<Record<PartName, number>>;

/** What was recorded in some interval. */
export type PhaseCounts = Readonly<Record<PartName, SparseCounts>>;

/** The means of the phases add up to that of the whole; percentiles do not. */
export type PartUs = LatencyUs & { readonly mean: number };

export type PhasesUs = { readonly sampled: number } & Readonly<Record<PartName, PartUs>>;

function forEachPart<T>(of: (name: PartName) => T): Readonly<Record<PartName, T>> {
  return Object.fromEntries(partNames.map((name) => [name, of(name)])) as Record<PartName, T>;
}

/** Follows one operation, which counts from when it was planned until its user has the answer. */
export class PhaseSample {
  #phases: RequestPhases | undefined;
  #answeredMs = 0;

  /** Called by the client library, with the part of the time that it has seen. */
  readonly take = (phases: RequestPhases): void => {
    this.#phases = phases;
    this.#answeredMs = performance.now();
  };

  /** Undefined when the server did not tell. */
  durations(sinceMs: number, endMs: number): PhaseDurations | undefined {
    if (this.#phases === undefined) return undefined;
    const { clientQueueMs, wireMs, serverQueueMs, handlerMs, backMs } = this.#phases;
    const seenMs = clientQueueMs + wireMs + serverQueueMs + handlerMs + backMs;
    return {
      clientQueue: this.#answeredMs - sinceMs - (seenMs - clientQueueMs),
      wire: wireMs,
      serverQueue: serverQueueMs,
      handler: handlerMs,
      back: backMs + (endMs - this.#answeredMs),
      whole: endMs - sinceMs,
    };
  }
}

export class PhaseHistograms {
  readonly #parts: Readonly<Record<PartName, Latencies>>;

  constructor(range: HistogramRange) {
    this.#parts = forEachPart(() => new Latencies(range));
  }

  record(durations: PhaseDurations): void {
    for (const name of partNames) this.#parts[name].record(durations[name]);
  }

  /** Everything recorded since the last time. */
  take(): PhaseCounts {
    return forEachPart((name) => this.#parts[name].take());
  }

  add(counts: PhaseCounts): void {
    for (const name of partNames) this.#parts[name].add(counts[name]);
  }

  summary(): PhasesUs {
    const part = (name: PartName): PartUs => ({
      mean: this.#parts[name].meanUs,
      ...this.#parts[name].summary(),
    });
    return { sampled: this.#parts.whole.count, ...forEachPart(part) };
  }
}
