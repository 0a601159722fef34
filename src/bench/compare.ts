// Two sets of results side by side: what changed, and whether that is more than noise.
import { z } from 'zod';
import { plural } from './plan.js';

/** A fault of a file that is no set of results. */
export class ComparisonProblem extends Error {}

const latencies = z.object({ p50: z.number(), p99: z.number(), p99_9: z.number() });
const resultShape = z.object({
  device: z.string(),
  workload: z.string(),
  clients: z.number(),
  threads: z.number(),
  operationsPerSecond: z.number(),
  latencyUs: latencies,
  complete: z.boolean(),
  generatorSaturated: z.boolean(),
  load: z.object({
    bytes: z.object({ min: z.number(), max: z.number() }),
    connections: z.number(),
    clientInstancesPerPool: z.number().nullable().default(null),
    threadsPerPool: z.number().nullable().default(null),
    depth: z.number(),
    rate: z.number().nullable(),
  }),
  host: z.object({ cpu: z.string(), cores: z.number() }),
});

/** What is read of a result. */
export type ComparedRun = z.infer<typeof resultShape>;

/** Figures in which more is better, or less. */
const figures = [
  ['operationsPerSecond', 1, (run: ComparedRun) => run.operationsPerSecond],
  ['p50Us', -1, (run: ComparedRun) => run.latencyUs.p50],
  ['p99Us', -1, (run: ComparedRun) => run.latencyUs.p99],
  ['p99_9Us', -1, (run: ComparedRun) => run.latencyUs.p99_9],
] as const;
type FigureName = (typeof figures)[number][0];

/** Of the values of one figure in several runs. */
interface Sample {
  readonly runs: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Change {
  /** The load that both sides had. */
  readonly load: string;
  readonly figure: FigureName;
  readonly before: Sample;
  readonly after: Sample;
  /** Of the medians: 0.1 is a tenth more. */
  readonly change: number;
  readonly verdict: 'better' | 'worse' | 'same' | 'noise';
}

export interface Comparison {
  readonly changes: readonly Change[];
  /** True when a figure is worse by more than the threshold, and by more than noise. */
  readonly isWorse: boolean;
  /** What a reader must know before believing it. */
  readonly warnings: readonly string[];
}

function median(sorted: readonly number[]): number {
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

function sampleOf(values: readonly number[]): Sample {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    runs: sorted.length,
    median: median(sorted),
    min: sorted[0] ?? 0,
    max: sorted.at(-1) ?? 0,
  };
}

/** Noise is what the runs of a side differ by among themselves. */
function isBeyondNoise(before: Sample, after: Sample): boolean {
  return before.max < after.min || after.max < before.min;
}

function verdictOf(
  before: Sample,
  after: Sample,
  change: number,
  direction: 1 | -1,
  threshold: number,
): Change['verdict'] {
  if (Math.abs(change) <= threshold) return 'same';
  if (!isBeyondNoise(before, after)) return 'noise';
  return change * direction > 0 ? 'better' : 'worse';
}

function loadOf({ workload, clients, threads, load }: ComparedRun): string {
  const { bytes, connections, depth, rate, clientInstancesPerPool, threadsPerPool } = load;
  const size = bytes.min === bytes.max ? String(bytes.min) : `${bytes.min}..${bytes.max}`;
  const pace = rate === null ? 'closed loop' : `${rate}/s`;
  return (
    `${workload} of ${size} bytes, ${pace}, ${plural(clients, 'client')}, ` +
    `${plural(threads, 'thread')} × ${plural(connections, 'connection')} × depth ${depth}` +
    (clientInstancesPerPool === null
      ? ''
      : `, pools of ${plural(clientInstancesPerPool, 'instance')} shared by ` +
        plural(threadsPerPool ?? 0, 'thread'))
  );
}

function byLoad(runs: readonly ComparedRun[]): Map<string, ComparedRun[]> {
  const groups = new Map<string, ComparedRun[]>();
  for (const run of runs) {
    const load = loadOf(run);
    groups.set(load, [...(groups.get(load) ?? []), run]);
  }
  return groups;
}

function warningsFor(before: readonly ComparedRun[], after: readonly ComparedRun[]): string[] {
  const all = [...before, ...after];
  const distinct = (of: (run: ComparedRun) => string): string[] => [...new Set(all.map(of))];
  const devices = distinct(({ device }) => device);
  const hosts = distinct(({ host }) => `${host.cpu} × ${host.cores}`);
  const warnings: string[] = [];
  if (devices.length > 1) {
    const kind = devices.includes('soft0') ? ': the soft device and hardware do not compare' : '';
    warnings.push(`different devices, ${devices.join(' and ')}${kind}`);
  }
  if (hosts.length > 1) warnings.push(`different machines, ${hosts.join(' and ')}`);
  if (all.some(({ complete }) => !complete)) warnings.push('a run was not complete');
  if (all.some(({ generatorSaturated }) => generatorSaturated)) {
    warnings.push('the load generator was a bottleneck itself in some of the runs');
  }
  if (Math.min(before.length, after.length) < 3) {
    warnings.push('noise is not known from so few runs: give --runs 3 or more to each side');
  }
  return warnings;
}

/** Compares runs of the same load. Throws a ComparisonProblem when no load is on both sides. */
export function compareRuns(
  before: readonly ComparedRun[],
  after: readonly ComparedRun[],
  threshold: number,
): Comparison {
  const afterByLoad = byLoad(after);
  const changes = [...byLoad(before)].flatMap(([load, runs]) => {
    const others = afterByLoad.get(load);
    return others === undefined ? [] : changesOf(load, runs, others, threshold);
  });
  const [first] = before;
  const [other] = after;
  if (changes.length === 0 || first === undefined || other === undefined) {
    const loads = [first, other].map((run) => (run === undefined ? 'nothing' : loadOf(run)));
    throw new ComparisonProblem(`they have no load in common: ${loads.join('; ')}`);
  }
  return {
    changes,
    isWorse: changes.some(({ verdict }) => verdict === 'worse'),
    warnings: warningsFor(before, after),
  };
}

function changesOf(
  load: string,
  before: readonly ComparedRun[],
  after: readonly ComparedRun[],
  threshold: number,
): Change[] {
  return figures.map(([figure, direction, of]) => {
    const first = sampleOf(before.map(of));
    const second = sampleOf(after.map(of));
    const change = first.median === 0 ? 0 : second.median / first.median - 1;
    const verdict = verdictOf(first, second, change, direction, threshold);
    return { load, figure, before: first, after: second, change, verdict };
  });
}

/** The runs in a file of `verbena bench --json`: a document, a series, or lines of them. */
export function readRuns(text: string): ComparedRun[] {
  const runs = text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .flatMap((line, index) => runsIn(line, `line ${index + 1}`));
  if (runs.length === 0) throw new ComparisonProblem('there is no result in it');
  return runs;
}

function runsIn(line: string, where: string): ComparedRun[] {
  let content: unknown;
  try {
    content = JSON.parse(line);
  } catch {
    throw new ComparisonProblem(`${where} is no JSON document of \`verbena bench --json\``);
  }
  const shape = z.union([
    z.object({ points: z.array(resultShape) }).transform(({ points }) => points),
    resultShape.transform((run) => [run]),
  ]);
  const parsed = shape.safeParse(content);
  if (parsed.success) return parsed.data;
  throw new ComparisonProblem(`${where} is no result of \`verbena bench --json\``);
}
