// What a run of `verbena bench` does: its clients, their threads, and the load of each.
import { payloads, type Mix } from './workload.js';

/** How clients reach the server. */
export interface BenchTarget {
  readonly device: string;
  readonly host: string;
  readonly port: number;
  readonly ca: string | undefined;
  readonly rejectUnauthorized: boolean;
}

/** A client process. */
export interface ClientPlan {
  readonly name: string;
  /** Of its first thread; the next ones have the numbers that follow. */
  readonly baseClientId: number;
  readonly threads: number;
  /** Address of the soft device of this process; undefined: a free one. */
  readonly softAddress: string | undefined;
}

/** A number that is fixed, or drawn evenly between two. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** A pool of client instances: each thread of a client has one, lent to the loops that share it. */
export interface PoolShape {
  readonly clientInstancesPerPool: number;
  readonly connectionsPerInstance: number;
  readonly threadsPerPool: number;
}

export const arrivalKinds = ['constant', 'poisson'] as const;
export type Arrivals = (typeof arrivalKinds)[number];

/** The load of the whole run, or, once it is shared out, of one thread. */
export interface Load {
  readonly workload: Mix;
  readonly bytes: Range;
  /** Connections of each thread; with a pool, those that it may open. */
  readonly connections: number;
  readonly pool: PoolShape | undefined;
  /** Operations under way on each connection, at most. */
  readonly depth: number;
  readonly warmUpMs: number;
  /** How long operations are started, or how many: one of the two is undefined. */
  readonly durationMs: number | undefined;
  readonly count: number | undefined;
  /** Operations a second that are started whatever becomes of them; undefined: closed loop. */
  readonly rate: number | undefined;
  readonly arrivals: Arrivals;
  readonly verify: boolean;
  /** One in so many requests is followed through its phases; undefined: none is. */
  readonly phaseSample: number | undefined;
  readonly timeoutMs: number;
  /** Longest latency that is told from longer ones, and the digits of it that are kept. */
  readonly highestLatencyMs: number;
  readonly digits: number;
  readonly seed: number;
}

export interface BenchPlan {
  readonly target: BenchTarget;
  readonly clients: readonly ClientPlan[];
  readonly load: Load;
  /** The run stops when this share of its operations, 0 to 1, has failed. */
  readonly stopAtErrorShare: number;
}

/** The clients of a plan that names none: so many alike, their ids one after the other. */
export function alikeClients(
  clients: number,
  threads: number,
  baseClientId: number,
  softAddress: string | undefined,
): ClientPlan[] {
  return Array.from({ length: clients }, (_, index) => ({
    name: `client${index}`,
    baseClientId: baseClientId + index * threads,
    threads,
    softAddress,
  }));
}

export function clientIds({ baseClientId, threads }: ClientPlan): number[] {
  return Array.from({ length: threads }, (_, index) => baseClientId + index);
}

export function countThreads({ clients }: BenchPlan): number {
  return clients.reduce((sum, { threads }) => sum + threads, 0);
}

/** The part of a load that thread `index` of `threads` bears: rate and count are of the whole. */
export function shareOf(load: Load, index: number, threads: number): Load {
  const { count, rate, seed } = load;
  return {
    ...load,
    count:
      count === undefined
        ? undefined
        : Math.floor(count / threads) + (index < count % threads ? 1 : 0),
    rate: rate === undefined ? undefined : rate / threads,
    seed: (seed + index) % 2 ** 32,
  };
}

export function plural(count: number, noun: string): string {
  const suffix = count === 1 ? '' : noun.endsWith('s') ? 'es' : 's';
  return `${count} ${noun}${suffix}`;
}

/** `2 pools × 3 instances × 50 connections = up to 300 connections`. */
function describePools({ clients, load }: BenchPlan, pool: PoolShape): string {
  const { clientInstancesPerPool, connectionsPerInstance, threadsPerPool } = pool;
  const pools = clients[0]?.threads ?? 0;
  const total = clients.length * pools * load.connections;
  const parts = [
    ...(clients.length === 1 ? [] : [plural(clients.length, 'process')]),
    plural(pools, 'pool'),
    plural(clientInstancesPerPool, 'instance'),
    plural(connectionsPerInstance, 'connection'),
  ];
  const shared = `each pool shared by ${plural(threadsPerPool, 'thread')}`;
  return `${parts.join(' × ')} = up to ${plural(total, 'connection')}, ${shared},`;
}

/** `1 process × 4 threads × 1 connection = 4 connections`. */
export function describeConnections(plan: BenchPlan): string {
  const { clients, load } = plan;
  if (load.pool !== undefined) return describePools(plan, load.pool);
  const total = plural(countThreads(plan) * load.connections, 'connection');
  const each = plural(load.connections, 'connection');
  const first = clients[0]?.threads ?? 0;
  if (clients.every(({ threads }) => threads === first)) {
    return `${plural(clients.length, 'process')} × ${plural(first, 'thread')} × ${each} = ${total}`;
  }
  const threads = clients.map((client) => client.threads).join(' + ');
  return `${plural(clients.length, 'process')}, (${threads}) threads × ${each} = ${total}`;
}

function describeLength({ durationMs, count, warmUpMs }: Load): string {
  const what = count === undefined ? `for ${(durationMs ?? 0) / 1000} s` : `${count} operations`;
  return warmUpMs === 0 ? what : `${what} after ${warmUpMs / 1000} s of warm-up`;
}

function describePace({ rate, arrivals, depth }: Load): string {
  if (rate === undefined) return `closed loop, ${depth} under way on each connection`;
  const limit = `at most ${depth} under way on each connection`;
  return `open loop, ${rate} operations/s (${arrivals}), ${limit}`;
}

/** Only of operations that have a payload. */
function describePayload({ workload, bytes }: Load): string {
  const hasPayload = workload.shares.some(({ operation }) => payloads.has(operation));
  return hasPayload ? `${workload.text} of ${describeRange(bytes)} bytes` : workload.text;
}

export function describeRange({ min, max }: Range): string {
  return min === max ? String(min) : `${min}..${max}`;
}

/** What will be done, one line for each thing; of a series, with the first of its loads. */
export function describePlan(plan: BenchPlan, runs?: number): string[] {
  const { target, load } = plan;
  const { verify } = load;
  const checked = verify ? ', every answer compared' : '';
  return [
    `${describeConnections(plan)} to ${target.host} port ${target.port}`,
    `${describePayload(load)}, ${describeLength(load)}${checked}`,
    describePace(load),
    ...(runs === undefined ? [] : [plural(runs, 'run')]),
  ];
}
