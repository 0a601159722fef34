// How busy this process is, as far as load shedding wants to know: its event loop, its cores, its
// memory.
import { availableParallelism, totalmem } from 'node:os';
import { performance } from 'node:perf_hooks';
import type { LoadReading } from '../admission/load-shedder.js';

export const READING_INTERVAL_MS = 500;
const READINGS_KEPT = 10;

/** Counters that only grow, all of them in milliseconds. */
export interface CpuCounters {
  readonly atMs: number;
  /** The event loop did not wait for events. */
  readonly loopActiveMs: number;
  /** Of that: it only watched for completions, and would have slept otherwise. */
  readonly spinMs: number;
  /** User and system time of all threads, without what workers spun in vain. */
  readonly cpuMs: number;
}

/**
 * The busiest of the event loop and the cores, in percent, without the time that the loop spun in
 * vain: that is waiting, only faster.
 */
export function cpuPercent(earlier: CpuCounters, now: CpuCounters, cores: number): number {
  const wallMs = now.atMs - earlier.atMs;
  if (wallMs <= 0) return 0;
  const spinMs = now.spinMs - earlier.spinMs;
  const loopMs = now.loopActiveMs - earlier.loopActiveMs - spinMs;
  const coresMs = (now.cpuMs - earlier.cpuMs - spinMs) / cores;
  const percent = (Math.max(loopMs, coresMs, 0) * 100) / wallMs;
  return Math.min(100, percent);
}

/** The mean of the last five seconds; 0 until so many have passed. */
export class CpuMeter {
  readonly #read: () => CpuCounters;
  readonly #cores: number;
  readonly #readings: CpuCounters[] = [];

  constructor(read: () => CpuCounters, cores: number) {
    this.#read = read;
    this.#cores = cores;
  }

  /** Call it every READING_INTERVAL_MS. */
  percent(): number {
    const now = this.#read();
    this.#readings.push(now);
    if (this.#readings.length <= READINGS_KEPT) return 0;
    return cpuPercent(this.#readings.shift() as CpuCounters, now, this.#cores);
  }
}

/** The limit of the control group that this process is in, or else what the machine has. */
export function memoryOfMachine(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 && constrained < totalmem() ? constrained : totalmem();
}

export interface LoadMeterOptions {
  /** Time that the event loop spun so far. */
  readonly spinMs: () => number;
  /** The same of the event loops of workers. */
  readonly workersSpinMs: () => number;
  readonly memoryBudgetBytes: () => number;
  /** Requests pending, in percent of those there may be. */
  readonly queuePercent: () => number;
}

/** Reads the load of this process; call it every READING_INTERVAL_MS. */
export function loadMeter(options: LoadMeterOptions): () => LoadReading {
  const cpu = new CpuMeter(() => {
    const { user, system } = process.cpuUsage();
    return {
      atMs: performance.now(),
      loopActiveMs: performance.eventLoopUtilization().active,
      spinMs: options.spinMs(),
      cpuMs: (user + system) / 1000 - options.workersSpinMs(),
    };
  }, availableParallelism());
  return () => ({
    cpu: cpu.percent(),
    memory: (process.memoryUsage.rss() * 100) / options.memoryBudgetBytes(),
    queue: options.queuePercent(),
  });
}
