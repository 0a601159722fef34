// What a worker counts, how the counts of several make one, and what stays of one that is gone.
import { RequestGate, type RequestGateStats } from '../admission/request-gate.js';
import { DurationHistogram, type Durations } from '../connection/duration-histogram.js';
import { newTrafficStats, type TrafficStats } from '../connection/traffic-stats.js';
import type { NativePollGroupStats } from '../native/addon.js';
import type { BufferPoolStats } from '../rdma/buffer-pool.js';
import {
  ResourceRegistry,
  type OwnerNode,
  type ResourceKind,
  type ResourceRecord,
} from '../rdma/registry.js';
import type { SessionFigures } from './messages.js';

/** What one thread counts. */
export interface ThreadCounts {
  readonly traffic: Readonly<TrafficStats>;
  readonly requestDurations: Durations;
  readonly requestStartDelays: Durations;
  readonly requestQueue: RequestGateStats;
  readonly pollGroup: NativePollGroupStats;
  readonly resources: Readonly<Record<ResourceKind, number>>;
  readonly registeredBytes: number;
  readonly pool: BufferPoolStats;
}

/** Every native object of a thread. */
export interface ThreadObjects {
  readonly resources: readonly ResourceRecord[];
  readonly tree: readonly OwnerNode[];
}

export interface WorkerReport {
  readonly counts: ThreadCounts;
  readonly sessions: readonly (readonly [id: number, figures: SessionFigures])[];
  /** Present when they were asked for. */
  readonly objects: ThreadObjects | undefined;
}

const noPollGroupStats: NativePollGroupStats = {
  polls: 0,
  completions: 0,
  batches: 0,
  wakeups: 0,
  spins: 0,
  spinHits: 0,
  spinNs: 0,
  posts: 0,
  postBatches: 0,
  postFailures: 0,
  hotCqs: 0,
  armedCqs: 0,
};

function addValues(a: unknown, b: unknown): unknown {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  if (Array.isArray(a) && Array.isArray(b)) {
    return (a as unknown[]).map((value, at) => addValues(value, (b as unknown[])[at]));
  }
  const entries = Object.entries(a as object).map(([key, value]) => [
    key,
    addValues(value, (b as Readonly<Record<string, unknown>>)[key]),
  ]);
  return Object.fromEntries(entries);
}

/** Adds numbers that have the same names. */
export function addNumbers<T extends object>(a: T, b: T): T {
  return addValues(a, b) as T;
}

/** Of a thread that has done nothing. */
export function noCounts(): ThreadCounts {
  const gate = new RequestGate(0).stats(0);
  return {
    traffic: newTrafficStats(),
    requestDurations: new DurationHistogram().durations(),
    requestStartDelays: new DurationHistogram().durations(),
    requestQueue: gate,
    pollGroup: noPollGroupStats,
    resources: new ResourceRegistry().counts(),
    registeredBytes: 0,
    pool: { lentBytes: 0, freeBytes: 0, allocations: 0, reuses: 0 },
  };
}

/** What a thread leaves behind: what happened stays counted, what there was is gone. */
export function countsAfterEnd(counts: ThreadCounts): ThreadCounts {
  const { traffic, pool, pollGroup, requestQueue } = counts;
  const { requests, responses, requestErrors } = traffic;
  return {
    ...counts,
    traffic: {
      ...traffic,
      answersWaiting: 0,
      requestsAbandoned: requests - responses - requestErrors,
    },
    requestQueue: { ...requestQueue, pending: 0, queueSize: 0, finishedPerSecond: 0, bytes: 0 },
    pollGroup: { ...pollGroup, hotCqs: 0, armedCqs: 0 },
    resources: new ResourceRegistry().counts(),
    registeredBytes: 0,
    pool: { ...pool, lentBytes: 0, freeBytes: 0 },
  };
}
