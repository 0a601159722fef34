// `verbena bench`: makes a plan of its options, runs it, prints the result, decides the exit code.
import { histogramBytes, maxHistogramBytes } from '../bench/histogram.js';
import {
  alikeClients,
  countThreads,
  describePlan,
  type Arrivals,
  type BenchPlan,
  type ClientPlan,
  type Load,
  type Range,
} from '../bench/plan.js';
import { plannedClients, type PlanFile } from '../bench/plan-file.js';
import type { BenchResult } from '../bench/result.js';
import { BenchRun } from '../bench/run.js';
import { secondLine, summaryOf, warningsOf } from '../bench/table.js';
import type { Mix } from '../bench/workload.js';
import { messageOf } from '../errors.js';
import { CliFailure, ExitCode } from './failure.js';
import { untilSignal, type Interruption } from './interruption.js';
import { readAuthority } from './ping-command.js';
import { parseTarget } from './target.js';

export interface BenchOptions {
  readonly ca?: string;
  readonly insecure: boolean;
  readonly device: string;
  readonly softAddr?: string;
  readonly clients: number;
  readonly clientThreads: number;
  readonly clones: number;
  readonly baseClientId: number;
  readonly connections: number;
  readonly depth: number;
  readonly workload: Mix;
  readonly bytes: Range;
  readonly duration?: number;
  readonly count?: number;
  readonly warmUp: number;
  readonly rate?: number;
  readonly arrivals?: Arrivals;
  readonly verify: boolean;
  readonly timeout: number;
  readonly seed: number;
  readonly stopOnErrors: number;
  readonly highestLatency: number;
  readonly digits: number;
  readonly plan?: string;
  readonly progress: boolean;
  readonly json: boolean;
}

const defaultDurationSeconds = 10;

function usageFailure(what: string, hint: string): CliFailure {
  return new CliFailure(what, { hint, exitCode: ExitCode.usage });
}

/** What no single option can know to be wrong. */
function checkTogether(options: BenchOptions): void {
  const { ca, insecure, duration, count, arrivals, rate, workload, bytes } = options;
  if (ca !== undefined && insecure) {
    throw usageFailure('--ca and --insecure exclude each other', 'give one of them');
  }
  if (duration !== undefined && count !== undefined) {
    throw usageFailure('--duration and --count exclude each other', 'give one of them');
  }
  if (arrivals !== undefined && rate === undefined) {
    throw usageFailure('--arrivals is for an open loop', 'give --rate too');
  }
  const empty = workload.shares.find(
    ({ operation }) => operation === 'read' || operation === 'write',
  );
  if (bytes.min === 0 && empty !== undefined) {
    throw usageFailure(`--workload ${empty.operation} needs bytes`, 'give --bytes 1 or more');
  }
  if (options.softAddr !== undefined && options.clients > 1) {
    throw usageFailure(
      `--soft-addr cannot be shared by ${options.clients} clients, which are processes`,
      'leave it out: each takes a free loopback address',
    );
  }
}

/** What the plan as a whole cannot be. */
function checkPlan(plan: BenchPlan): void {
  const { load } = plan;
  const threads = countThreads(plan);
  if (load.count !== undefined && load.count < threads) {
    throw usageFailure(
      `--count ${load.count} is less than the ${threads} threads that share it`,
      'raise it, or use fewer threads',
    );
  }
  // Each thread has one, this process one more for each, and some for the whole.
  const bytes = (2 * threads + 3) * histogramBytes(load);
  if (bytes > maxHistogramBytes) {
    throw usageFailure(
      `histograms up to ${load.highestLatencyMs / 1000} s with ${load.digits} digits would take ` +
        `${Math.round(bytes / 2 ** 20)} MiB for ${threads} threads`,
      'lower --digits, --highest-latency or the threads',
    );
  }
}

function loadOf(options: BenchOptions): Load {
  const { duration, count } = options;
  const seconds = duration ?? (count === undefined ? defaultDurationSeconds : undefined);
  return {
    workload: options.workload,
    bytes: options.bytes,
    connections: options.connections,
    depth: options.depth,
    warmUpMs: options.warmUp * 1000,
    durationMs: seconds === undefined ? undefined : seconds * 1000,
    count,
    rate: options.rate,
    arrivals: options.arrivals ?? 'constant',
    verify: options.verify,
    timeoutMs: options.timeout,
    highestLatencyMs: options.highestLatency * 1000,
    digits: options.digits,
    seed: options.seed,
  };
}

/** Those that the plan file lists, or so many alike. */
function clientsOf(options: BenchOptions, file: PlanFile | undefined): ClientPlan[] {
  const { clients, clientThreads, clones, baseClientId, softAddr } = options;
  const threads = clientThreads > 0 ? clientThreads : clones;
  if (file === undefined || file.clients.length === 0) {
    return alikeClients(clients, threads, baseClientId, softAddr);
  }
  if (softAddr !== undefined) {
    throw usageFailure('the plan lists its clients', 'give each its address there, no --soft-addr');
  }
  try {
    return plannedClients(file, threads, baseClientId);
  } catch (error) {
    const hint = 'give each client threads and ids of its own';
    throw usageFailure(`the plan ${options.plan ?? ''} is not right: ${messageOf(error)}`, hint);
  }
}

async function planOf(
  target: string,
  options: BenchOptions,
  file: PlanFile | undefined,
): Promise<BenchPlan> {
  checkTogether(options);
  const { ca } = options;
  const plan = {
    target: {
      ...parseTarget(target),
      device: options.device,
      ca: ca === undefined ? undefined : await readAuthority(ca),
      rejectUnauthorized: !options.insecure,
    },
    clients: clientsOf(options, file),
    load: loadOf(options),
    stopAtErrorShare: options.stopOnErrors / 100,
  };
  checkPlan(plan);
  return plan;
}

function runPlan(
  plan: BenchPlan,
  options: BenchOptions,
  interruption: Interruption,
): Promise<BenchResult> {
  const isLive = options.progress && process.stderr.isTTY;
  const run = new BenchRun(plan, {
    signal: interruption.signal,
    onSecond: (second) => {
      if (!isLive) return;
      const isWarmUp = second.at * 1000 <= plan.load.warmUpMs;
      process.stderr.write(`${secondLine(second, isWarmUp)}\n`);
    },
  });
  return run.play();
}

/** Resolves with the exit code: 0 when all was run as asked for, and nothing failed. */
export async function benchCommand(
  target: string,
  options: BenchOptions,
  file?: PlanFile,
): Promise<number> {
  const plan = await planOf(target, options, file);
  const note = (text: string): void => {
    (options.json ? process.stderr : process.stdout).write(`${text}\n`);
  };
  describePlan(plan).forEach(note);
  if (options.insecure) note('WARNING: --insecure: the server is NOT verified');
  using interruption = untilSignal();
  const result = await runPlan(plan, options, interruption);
  if (options.json) {
    for (const warning of warningsOf(result)) note(`verbena bench: warning: ${warning}`);
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } else {
    note(summaryOf(result));
  }
  const isFine = result.complete && result.errors === 0;
  return interruption.exitCode ?? (isFine ? ExitCode.ok : ExitCode.failure);
}
