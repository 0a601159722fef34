// The result of a run: the document that `verbena bench --json` prints.
import { cpus, release } from 'node:os';
import { packageVersion } from '../native/package.js';
import { saturation } from './effort.js';
import type { LatencyUs } from './histogram.js';
import type { Effort } from './messages.js';
import type { PhasesUs } from './phases.js';
import { countThreads, type BenchPlan, type Range } from './plan.js';
import type { ThreadTally, Totals } from './tally.js';
import type { Second } from './timeline.js';

/** What a thread did, or all of them. Times in µs where the name says so, else in seconds. */
export interface Figures {
  readonly operations: number;
  readonly errors: number;
  readonly seconds: number;
  readonly operationsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly latencyUs: LatencyUs;
}

export interface ThreadResult extends Figures {
  readonly clientId: number;
  readonly client: string;
  /** Null when it died before it could tell. */
  readonly effort: Effort | null;
}

export interface HostFingerprint {
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly node: string;
  readonly verbena: string;
}

/** Members are added to it, never changed or taken away. */
export interface BenchResult extends Figures {
  readonly device: string;
  readonly workload: string;
  readonly clients: number;
  readonly threads: number;
  /** Where the time of sampled operations went; null when that was not asked for. */
  readonly phasesUs: PhasesUs | null;
  readonly perThread: readonly ThreadResult[];
  readonly generatorSaturated: boolean;
  /** Why, one sentence for each thread that was. */
  readonly saturation: readonly string[];
  /** False when less was run than asked for; `problem` says why. */
  readonly complete: boolean;
  readonly problem: string | null;
  readonly interrupted: boolean;
  readonly errorCodes: Readonly<Record<string, number>>;
  readonly warmUp: { readonly operations: number; readonly errors: number };
  /** Under way when the run ended. */
  readonly unfinished: number;
  /** Planned by an open loop and not begun when the time was over. */
  readonly unsent: number;
  /** Latencies over `highestLatencyMs`, counted as that. */
  readonly beyondRange: number;
  readonly load: {
    readonly bytes: Range;
    readonly connections: number;
    /** Of each client; null, like the next three, when there is no pool. */
    readonly clientInstancePools: number | null;
    readonly clientInstancesPerPool: number | null;
    readonly connectionsPerInstance: number | null;
    readonly threadsPerPool: number | null;
    readonly depth: number;
    readonly warmUpSeconds: number;
    readonly durationSeconds: number | null;
    readonly count: number | null;
    readonly rate: number | null;
    readonly arrivals: string;
    readonly verify: boolean;
    readonly phaseSample: number | null;
    readonly seed: number;
  };
  readonly server: string;
  readonly startedAt: string;
  readonly host: HostFingerprint;
  readonly series: readonly Second[];
  /** Percentiles, and the latency in µs of each. */
  readonly curve: readonly (readonly [percent: number, us: number])[];
}

export interface Outcome {
  readonly plan: BenchPlan;
  readonly threads: readonly ThreadTally[];
  readonly totals: Totals;
  readonly series: readonly Second[];
  readonly problem: string | undefined;
  readonly isInterrupted: boolean;
  readonly startedAt: Date;
}

function figuresOf(totals: Totals, warmUpMs: number): Figures {
  const { operations, errors, bytes, latencies } = totals;
  const seconds = totals.seconds(warmUpMs);
  const perSecond = (count: number): number => (seconds === 0 ? 0 : count / seconds);
  return {
    operations,
    errors,
    seconds,
    operationsPerSecond: perSecond(operations),
    bytesPerSecond: perSecond(bytes),
    latencyUs: latencies.summary(),
  };
}

function hostFingerprint(): HostFingerprint {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    kernel: release(),
    node: process.version,
    verbena: packageVersion(),
  };
}

function loadOf({ clients, load }: BenchPlan): BenchResult['load'] {
  const { bytes, connections, depth, arrivals, verify, seed } = load;
  return {
    bytes,
    connections,
    clientInstancePools: load.pool === undefined ? null : (clients[0]?.threads ?? null),
    clientInstancesPerPool: load.pool?.clientInstancesPerPool ?? null,
    connectionsPerInstance: load.pool?.connectionsPerInstance ?? null,
    threadsPerPool: load.pool?.threadsPerPool ?? null,
    depth,
    warmUpSeconds: load.warmUpMs / 1000,
    durationSeconds: load.durationMs === undefined ? null : load.durationMs / 1000,
    count: load.count ?? null,
    rate: load.rate ?? null,
    arrivals,
    verify,
    phaseSample: load.phaseSample ?? null,
    seed,
  };
}

function saturations(threads: readonly ThreadTally[], isOpenLoop: boolean): string[] {
  return threads.flatMap(({ clientId, end }) => {
    const why = end === undefined ? undefined : saturation(end.effort, isOpenLoop);
    return why === undefined ? [] : [`client ${clientId}: ${why}`];
  });
}

/** What could not be done as asked, in words. */
function problemOf({ problem, threads }: Outcome): string | undefined {
  const unfinished = threads.reduce((sum, { end }) => sum + (end?.unfinished ?? 0), 0);
  if (problem !== undefined) return problem;
  return unfinished === 0 ? undefined : `${unfinished} operations were never answered`;
}

export function resultOf(outcome: Outcome): BenchResult {
  const { plan, threads, totals, isInterrupted } = outcome;
  const { load, target } = plan;
  const problem = problemOf(outcome);
  const reasons = saturations(threads, load.rate !== undefined);
  const sum = (pick: (thread: ThreadTally) => number | undefined): number =>
    threads.reduce((total, thread) => total + (pick(thread) ?? 0), 0);
  const { operations, errors, ...rest } = figuresOf(totals, load.warmUpMs);
  return {
    device: threads.find(({ device }) => device !== undefined)?.device ?? target.device,
    workload: load.workload.text,
    clients: plan.clients.length,
    threads: countThreads(plan),
    operations,
    errors,
    ...rest,
    phasesUs: totals.phases?.summary() ?? null,
    perThread: threads.map((thread) => ({
      clientId: thread.clientId,
      client: thread.client,
      ...figuresOf(thread, load.warmUpMs),
      effort: thread.end?.effort ?? null,
    })),
    generatorSaturated: reasons.length > 0,
    saturation: reasons,
    complete: problem === undefined,
    problem: problem ?? null,
    interrupted: isInterrupted,
    errorCodes: totals.errorCodes,
    warmUp: { operations: totals.warmUpOperations, errors: totals.warmUpErrors },
    unfinished: sum(({ end }) => end?.unfinished),
    unsent: sum(({ end }) => end?.unsent),
    beyondRange: totals.latencies.beyond,
    load: loadOf(plan),
    server: `${target.host}:${target.port}`,
    startedAt: outcome.startedAt.toISOString(),
    host: hostFingerprint(),
    series: outcome.series,
    curve: totals.latencies.curve(),
  };
}
