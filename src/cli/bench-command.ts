// `verbena bench`: makes a plan of its options, runs it, prints the result, decides the exit code.
import { writeFile } from 'node:fs/promises';
import { HdrLog, toCsv } from '../bench/exports.js';
import { histogramBytes, maxHistogramBytes } from '../bench/histogram.js';
import { phaseNames } from '../bench/phases.js';
import {
  alikeClients,
  countThreads,
  describePlan,
  type Arrivals,
  type BenchPlan,
  type ClientPlan,
  type Load,
  type PoolShape,
  type Range,
} from '../bench/plan.js';
import { plannedClients, type PlanFile } from '../bench/plan-file.js';
import { reportPage, shellText, type Report } from '../bench/report.js';
import type { BenchResult } from '../bench/result.js';
import { BenchRun } from '../bench/run.js';
import { doublings, labelAt, planAt, seriesOf, type Steps } from '../bench/series.js';
import { secondLine, seriesSummary, summaryOf, warningsOf } from '../bench/table.js';
import { oneSided, requests, type Mix } from '../bench/workload.js';
import { messageOf } from '../errors.js';
import { CliFailure, ExitCode } from './failure.js';
import { untilSignal } from './interruption.js';
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
  readonly clientInstancePools?: number;
  readonly clientInstancesPerPool?: number;
  readonly connectionsPerInstance?: number;
  readonly threadsPerPool?: number;
  readonly depth: number;
  readonly workload: Mix;
  readonly bytes?: Range;
  readonly duration?: number;
  readonly count?: number;
  readonly warmUp: number;
  readonly rate?: number;
  readonly arrivals?: Arrivals;
  readonly verify: boolean;
  readonly phases: boolean;
  readonly phaseSample?: number;
  readonly timeout: number;
  readonly seed: number;
  readonly stopOnErrors: number;
  readonly highestLatency: number;
  readonly digits: number;
  readonly sweep?: Range;
  readonly rateSteps?: readonly number[];
  readonly runs?: number;
  readonly csv?: string;
  readonly hdr?: string;
  readonly html?: string;
  readonly plan?: string;
  readonly progress: boolean;
  readonly json: boolean;
}

const defaultDurationSeconds = 10;
const defaultBytes = { min: 64, max: 64 };
const defaultPhaseSample = 64;

function usageFailure(what: string, hint: string): CliFailure {
  return new CliFailure(what, { hint, exitCode: ExitCode.usage });
}

/** Options that exclude each other, by the names of their flags. */
const exclusive: readonly (readonly [keyof BenchOptions, keyof BenchOptions])[] = [
  ['ca', 'insecure'],
  ['duration', 'count'],
  ['bytes', 'sweep'],
  ['rate', 'rateSteps'],
  ['sweep', 'rateSteps'],
  ['sweep', 'runs'],
  ['rateSteps', 'runs'],
];

function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** What no single option can know to be wrong. */
function checkTogether(options: BenchOptions): void {
  const isGiven = (key: keyof BenchOptions): boolean =>
    options[key] !== undefined && options[key] !== false;
  const clash = exclusive.find((pair) => pair.every(isGiven));
  if (clash !== undefined) {
    const [one, other] = clash.map(flagOf);
    throw usageFailure(`${one ?? ''} and ${other ?? ''} exclude each other`, 'give one of them');
  }
  const { arrivals, rate, rateSteps, workload, bytes = defaultBytes, sweep = bytes } = options;
  if (arrivals !== undefined && rate === undefined && rateSteps === undefined) {
    throw usageFailure('--arrivals is for an open loop', 'give --rate too');
  }
  const empty = workload.shares.find(
    ({ operation }) => operation === 'read' || operation === 'write',
  );
  if (Math.min(bytes.min, sweep.min) === 0 && empty !== undefined) {
    throw usageFailure(`--workload ${empty.operation} needs bytes`, 'give --bytes 1 or more');
  }
  checkPhases(options);
  if (options.softAddr !== undefined && options.clients > 1) {
    throw usageFailure(
      `--soft-addr cannot be shared by ${options.clients} clients, which are processes`,
      'leave it out: each takes a free loopback address',
    );
  }
}

/** Undefined when no option of a pool is given. */
function poolOf(options: BenchOptions): PoolShape | undefined {
  const { clientInstancePools, clientInstancesPerPool, connectionsPerInstance, threadsPerPool } =
    options;
  const instances = clientInstancesPerPool ?? 1;
  const all = [clientInstancePools, clientInstancesPerPool, connectionsPerInstance, threadsPerPool];
  if (all.every((each) => each === undefined)) return undefined;
  return {
    clientInstancesPerPool: instances,
    connectionsPerInstance: connectionsPerInstance ?? 1,
    threadsPerPool: threadsPerPool ?? instances,
  };
}

/** Options that have another name, or no meaning, where there are pools. */
function checkPool(options: BenchOptions, file: PlanFile | undefined): void {
  if (poolOf(options) === undefined) return;
  const { clientThreads, clones, connections, workload } = options;
  if (clientThreads > 0 || clones > 1) {
    const flag = clientThreads > 0 ? '--client-threads' : '--clones';
    const hint = 'give --client-instance-pools for so many, and --threads-per-pool to share each';
    throw usageFailure(`${flag} has no meaning with pools, which have a thread each`, hint);
  }
  if (connections > 1) {
    const hint = 'give --connections-per-instance instead';
    throw usageFailure('--connections has no meaning with pools', hint);
  }
  const planned = file?.clients.find(({ threads }) => threads !== undefined);
  if (planned !== undefined) {
    const hint = 'give --client-instance-pools for all clients, and no threads in the plan';
    throw usageFailure(`${planned.where}: a client with pools has a thread for each`, hint);
  }
  const foreign = workload.shares.find(({ operation }) => oneSided.has(operation));
  if (foreign === undefined) return;
  throw usageFailure(
    `--workload ${foreign.operation} needs connections of its own, since each has its own region`,
    'leave out the options of pools, or use echo or send',
  );
}

function checkPhases({ phases, phaseSample, workload }: BenchOptions): void {
  if (!phases && phaseSample !== undefined) {
    throw usageFailure('--phase-sample is for --phases', 'give --phases too');
  }
  if (phases && !workload.shares.some(({ operation }) => requests.has(operation))) {
    const hint = 'give --workload a share of echo or send, such as echo=1,read=9';
    throw usageFailure('--phases needs requests, which only echo and send make', hint);
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
  const sampled = load.phaseSample === undefined ? 0 : (threads + 1) * (phaseNames.length + 1);
  const bytes = (2 * threads + 3 + sampled) * histogramBytes(load);
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
  const pool = poolOf(options);
  const seconds = duration ?? (count === undefined ? defaultDurationSeconds : undefined);
  return {
    workload: options.workload,
    bytes: options.bytes ?? options.sweep ?? defaultBytes,
    connections:
      pool === undefined
        ? options.connections
        : pool.clientInstancesPerPool * pool.connectionsPerInstance,
    pool,
    depth: options.depth,
    warmUpMs: options.warmUp * 1000,
    durationMs: seconds === undefined ? undefined : seconds * 1000,
    count,
    rate: options.rate ?? options.rateSteps?.[0],
    arrivals: options.arrivals ?? 'constant',
    verify: options.verify,
    phaseSample: options.phases ? (options.phaseSample ?? defaultPhaseSample) : undefined,
    timeoutMs: options.timeout,
    highestLatencyMs: options.highestLatency * 1000,
    digits: options.digits,
    seed: options.seed,
  };
}

/** Those that the plan file lists, or so many alike. */
function clientsOf(options: BenchOptions, file: PlanFile | undefined): ClientPlan[] {
  const { clients, clientThreads, clones, baseClientId, softAddr } = options;
  const ownThreads = clientThreads > 0 ? clientThreads : clones;
  const threads = options.clientInstancePools ?? ownThreads;
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
  checkPool(options, file);
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

/** What changes from run to run; undefined when there is but one. */
function stepsOf({ sweep, rateSteps, runs }: BenchOptions): Steps | undefined {
  if (sweep !== undefined) return { kind: 'bytes', values: doublings(sweep.min, sweep.max) };
  if (rateSteps !== undefined) return { kind: 'rate', values: rateSteps };
  if (runs === undefined) return undefined;
  return { kind: 'runs', values: Array.from({ length: runs }, (_, index) => index + 1) };
}

interface Session {
  readonly options: BenchOptions;
  readonly signal: AbortSignal;
  /** For people: on stdout, unless that is for the document. */
  readonly note: (text: string) => void;
  readonly hdr: HdrLog;
}

function runPlan(
  plan: BenchPlan,
  label: string | undefined,
  session: Session,
): Promise<BenchResult> {
  const { options, signal, note, hdr } = session;
  if (label !== undefined) note(`${label} …`);
  hdr.beginRun(label);
  const isLive = options.progress && process.stderr.isTTY;
  const run = new BenchRun(plan, {
    signal,
    onSecond: (second, totals) => {
      if (options.hdr !== undefined) hdr.add(second, totals);
      if (isLive) process.stderr.write(`${secondLine(second)}\n`);
    },
  });
  return run.play();
}

/** Runs one after the other, up to the first that is not complete. */
async function runSteps(plan: BenchPlan, steps: Steps, session: Session): Promise<BenchResult[]> {
  const points: BenchResult[] = [];
  for (const value of steps.values) {
    const label = labelAt(steps.kind, value);
    const point = await runPlan(planAt(plan, steps.kind, value), label, session);
    points.push(point);
    if (!point.complete) break;
  }
  return points;
}

function reportOf(points: readonly BenchResult[], steps: Steps | undefined): Report {
  return {
    points,
    labels: steps?.values.map((value) => labelAt(steps.kind, value)) ?? [],
    axis: steps?.kind ?? '',
    command: shellText(['verbena', ...process.argv.slice(2)]),
  };
}

async function writeFiles(
  points: readonly BenchResult[],
  steps: Steps | undefined,
  session: Session,
): Promise<void> {
  const { options, hdr } = session;
  const files = [
    [options.csv, () => toCsv(points)],
    [options.hdr, () => hdr.text],
    [options.html, () => reportPage(reportOf(points, steps))],
  ] as const;
  for (const [path, content] of files) {
    if (path === undefined) continue;
    await writeFile(path, await content()).catch((cause: unknown) => {
      throw new CliFailure(`cannot write ${path}`, { cause, hint: 'the results are above' });
    });
  }
}

function show(points: readonly BenchResult[], steps: Steps | undefined, session: Session): void {
  const { options, note } = session;
  const series = steps === undefined ? undefined : seriesOf(steps, points);
  if (options.json) {
    for (const warning of points.flatMap(warningsOf)) note(`verbena bench: warning: ${warning}`);
    process.stdout.write(`${JSON.stringify(series ?? points[0])}\n`);
  } else if (series !== undefined && steps !== undefined) {
    note(
      seriesSummary(
        series,
        steps.values.map((value) => labelAt(steps.kind, value)),
      ),
    );
  } else {
    points.forEach((point) => note(summaryOf(point)));
  }
}

/** Resolves with the exit code: 0 when all was run as asked for, and nothing failed. */
export async function benchCommand(
  target: string,
  options: BenchOptions,
  file?: PlanFile,
): Promise<number> {
  const plan = await planOf(target, options, file);
  const steps = stepsOf(options);
  using interruption = untilSignal();
  const note = (text: string): void => {
    (options.json ? process.stderr : process.stdout).write(`${text}\n`);
  };
  if (options.insecure) note('WARNING: --insecure: the server is NOT verified');
  describePlan(plan, steps === undefined ? undefined : steps.values.length).forEach(note);
  const session = { options, signal: interruption.signal, note, hdr: new HdrLog() };
  const points =
    steps === undefined
      ? [await runPlan(plan, undefined, session)]
      : await runSteps(plan, steps, session);
  show(points, steps, session);
  await writeFiles(points, steps, session);
  const isFine = points.every(({ complete, errors }) => complete && errors === 0);
  return interruption.exitCode ?? (isFine ? ExitCode.ok : ExitCode.failure);
}
