// When an open loop begins its operations: planned times, handed out in order as they come.
import type { Arrivals } from './plan.js';

/** Timers are good to about a millisecond; nearer than that, the thread rests, then watches. */
const timerSlackMs = 2;
/** How late a rest may end; longer ones than the next keep events waiting. */
const restSlackMs = 0.15;
const longestRestMs = 1;
/** An operation that begins later than this, though it could have, is late by our own fault. */
const lateMs = 1;

export interface ScheduleOptions {
  /** Operations a second. */
  readonly rate: number;
  readonly arrivals: Arrivals;
  /** On the clock of `performance.now()`. */
  readonly beginMs: number;
  /** Nothing is planned from here on. */
  readonly endMs: number;
  /** Nor are more operations than `count`, of those planned from `countFromMs` on. */
  readonly count: number;
  readonly countFromMs: number;
  /** Where between two constant times the first one lies, 0 to 1. */
  readonly phase: number;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Whether the thread waits for nothing but the next planned time. */
  readonly isIdle: () => boolean;
}

const never = new Int32Array(new SharedArrayBuffer(4));

/** Leaves the core to others, the server perhaps, and keeps the event loop from turning. */
function rest(ms: number): void {
  if (ms > 0) Atomics.wait(never, 0, 0, Math.min(ms, longestRestMs));
}

/** Planned times, one after the other. */
export function plannedTimes({
  rate,
  arrivals,
  beginMs,
  phase,
  random,
}: ScheduleOptions): () => number {
  const meanMs = 1000 / rate;
  if (arrivals === 'constant') {
    // Multiplied, not added up: that would drift.
    let index = 0;
    return () => beginMs + (phase + index++) * meanMs;
  }
  let lastMs = beginMs;
  return () => (lastMs -= Math.log(1 - random()) * meanMs);
}

interface Waiter {
  readonly sinceMs: number;
  readonly resolve: (plannedMs: number | undefined) => void;
}

/** Whoever is free asks for the next planned time, and gets it when it has come. */
export class Schedule {
  readonly #options: ScheduleOptions;
  readonly #plan: () => number;
  #nextMs: number;
  #handedOut = 0;
  #counted = 0;
  #late = 0;
  #waiters: Waiter[] = [];
  #isTicking = false;
  #isStopped = false;

  constructor(options: ScheduleOptions) {
    this.#options = options;
    this.#plan = plannedTimes(options);
    this.#nextMs = this.#plan();
  }

  /** Share of those handed out that were late though somebody was free. */
  get lateShare(): number {
    return this.#handedOut === 0 ? 0 : this.#late / this.#handedOut;
  }

  /** Resolves with a planned time when it has come, or undefined when there is none any more. */
  next(): Promise<number | undefined> {
    const nowMs = performance.now();
    // What has piled up by the end is not begun any more.
    if (this.#isOver() || nowMs >= this.#options.endMs) return Promise.resolve(undefined);
    if (this.#waiters.length === 0 && this.#nextMs <= nowMs) {
      return Promise.resolve(this.#handOut());
    }
    const next = new Promise<number | undefined>((resolve) => {
      this.#waiters.push({ sinceMs: nowMs, resolve });
    });
    this.#tickLater();
    return next;
  }

  /** How many more were planned; asked once, when all is over. */
  unsent(): number {
    const { endMs, count } = this.#options;
    if (endMs === Infinity) return count - this.#counted;
    let left = 0;
    for (; this.#nextMs < endMs; left += 1) this.#nextMs = this.#plan();
    return left;
  }

  /** Hands nothing out any more. */
  stop(): void {
    this.#isStopped = true;
    this.#release();
  }

  #isOver(): boolean {
    const { endMs, count } = this.#options;
    return this.#isStopped || this.#counted >= count || this.#nextMs >= endMs;
  }

  #handOut(): number {
    const plannedMs = this.#nextMs;
    this.#handedOut += 1;
    if (plannedMs >= this.#options.countFromMs) this.#counted += 1;
    this.#nextMs = this.#plan();
    return plannedMs;
  }

  #tickLater(): void {
    if (this.#isTicking) return;
    this.#isTicking = true;
    const waitMs = this.#nextMs - performance.now();
    if (waitMs > timerSlackMs) setTimeout(this.#tick, waitMs - timerSlackMs);
    else setImmediate(this.#tick);
  }

  readonly #tick = (): void => {
    this.#isTicking = false;
    // What was handed out in the last turn is under way by now.
    if (this.#options.isIdle()) rest(this.#nextMs - performance.now() - restSlackMs);
    const nowMs = performance.now();
    while (this.#waiters.length > 0 && !this.#isOver() && this.#nextMs <= nowMs) {
      const waiter = this.#waiters.shift();
      if (nowMs - Math.max(this.#nextMs, waiter?.sinceMs ?? 0) > lateMs) this.#late += 1;
      waiter?.resolve(this.#handOut());
    }
    if (this.#isOver()) this.#release();
    else if (this.#waiters.length > 0) this.#tickLater();
  };

  #release(): void {
    for (const { resolve } of this.#waiters.splice(0)) resolve(undefined);
  }
}
