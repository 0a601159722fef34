// The last minutes of a server in one sample a second, for the charts of the status page.
import { performance, type EventLoopUtilization } from 'node:perf_hooks';
import { durationsSince, quantile } from '../connection/duration-histogram.js';
import type { ServerStats } from '../server/views.js';

export const SAMPLE_INTERVAL_MS = 1000;
const MAX_SAMPLES = 300;

/** What happened in the second before `timestampMs`. */
export interface Sample {
  readonly timestampMs: number;
  readonly connections: number;
  readonly requestsPerSecond: number;
  /** Answers that were errors, refusals among them. */
  readonly errorsPerSecond: number;
  readonly acceptedPerSecond: number;
  readonly refusedPerSecond: number;
  readonly receivedBytesPerSecond: number;
  readonly sentBytesPerSecond: number;
  /** Milliseconds from a request to its answer; null when there was none. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly registeredBytes: number;
  /** Share of the time that the event loop was busy; to spin for completions is to wait. */
  readonly busy: number;
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

const refusals = ({ refused, turnedAway, droppedByRate }: ServerStats): number =>
  sumOf(refused) + turnedAway + droppedByRate;
const milliseconds = (seconds: number | undefined): number | null =>
  seconds === undefined ? null : seconds * 1000;

interface Reading {
  readonly at: number;
  readonly stats: ServerStats;
  readonly loop: EventLoopUtilization;
}

function busyShare(earlier: Reading, now: Reading): number {
  const { active, idle } = performance.eventLoopUtilization(now.loop, earlier.loop);
  const spinNs = (now.stats.pollGroup?.spinNs ?? 0) - (earlier.stats.pollGroup?.spinNs ?? 0);
  return active + idle <= 0 ? 0 : Math.max(0, active - spinNs / 1e6) / (active + idle);
}

function sampleBetween(earlier: Reading, now: Reading): Sample {
  const seconds = Math.max(now.at - earlier.at, 1) / 1000;
  const perSecond = (read: (stats: ServerStats) => number): number =>
    (read(now.stats) - read(earlier.stats)) / seconds;
  const durations = durationsSince(earlier.stats.requestDurations, now.stats.requestDurations);
  return {
    timestampMs: Date.now(),
    connections: now.stats.connections,
    requestsPerSecond: perSecond(({ traffic }) => traffic.responses + traffic.requestErrors),
    errorsPerSecond: perSecond(({ traffic }) => traffic.requestErrors),
    acceptedPerSecond: perSecond(({ accepted }) => accepted),
    refusedPerSecond: perSecond(refusals),
    receivedBytesPerSecond: perSecond(({ traffic }) => traffic.bytesReceived + traffic.bytesPulled),
    sentBytesPerSecond: perSecond(({ traffic }) => traffic.bytesSent),
    p50Ms: milliseconds(quantile(durations, 0.5)),
    p99Ms: milliseconds(quantile(durations, 0.99)),
    registeredBytes: now.stats.registeredBytes,
    busy: busyShare(earlier, now),
  };
}

export class History {
  readonly #read: () => ServerStats;
  readonly #samples: Sample[] = [];
  #last: Reading;

  constructor(read: () => ServerStats) {
    this.#read = read;
    this.#last = this.#reading();
  }

  /** Oldest first. */
  get samples(): readonly Sample[] {
    return this.#samples;
  }

  /** Call it every SAMPLE_INTERVAL_MS. */
  take(): Sample {
    const now = this.#reading();
    const sample = sampleBetween(this.#last, now);
    this.#last = now;
    this.#samples.push(sample);
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
    return sample;
  }

  #reading(): Reading {
    return {
      at: performance.now(),
      stats: this.#read(),
      loop: performance.eventLoopUtilization(),
    };
  }
}
