// Who waits for a place: so many at most, in the order in which they came, each for so long.
import { DrainRate } from './drain-rate.js';

export interface WaitingLineStats {
  readonly waiting: number;
  /** How many there may be. */
  readonly size: number;
  /** What became of those that waited, and how many found the line full. */
  readonly served: number;
  readonly tooLate: number;
  readonly left: number;
  readonly refused: number;
}

/** Times are of `performance.now()`. */
export class WaitingLine<T> {
  /** Oldest first, with the time by which each must have had its turn. */
  readonly #deadlines = new Map<T, number>();
  readonly #drained = new DrainRate();
  #size: number;
  #timeoutMs: number;
  #served = 0;
  #tooLate = 0;
  #left = 0;
  #refused = 0;

  constructor(size: number, timeoutMs: number) {
    this.#size = size;
    this.#timeoutMs = timeoutMs;
  }

  /** Counts for who comes from now on. */
  resize(size: number, timeoutMs: number): void {
    this.#size = size;
    this.#timeoutMs = timeoutMs;
  }

  get waiting(): number {
    return this.#deadlines.size;
  }

  get timeoutMs(): number {
    return this.#timeoutMs;
  }

  /** The deadline of who came last, or undefined when the line is full. */
  join(who: T, nowMs: number): number | undefined {
    if (this.#deadlines.size >= this.#size) {
      this.#refused++;
      return undefined;
    }
    const deadline = nowMs + this.#timeoutMs;
    this.#deadlines.set(who, deadline);
    return deadline;
  }

  /** Who waits no longer, for a reason of its own; does nothing for those who do not wait. */
  leave(who: T): void {
    if (this.#deadlines.delete(who)) this.#left++;
  }

  /** A place came free, whether anybody waits for it or not. */
  noteFreed(nowMs: number): void {
    this.#drained.note(nowMs);
  }

  /** Takes the one out of the line whose turn it is. */
  next(): T | undefined {
    for (const who of this.#deadlines.keys()) {
      this.#deadlines.delete(who);
      this.#served++;
      return who;
    }
    return undefined;
  }

  /** Takes those out of the line who have waited for too long. */
  expire(nowMs: number): T[] {
    const late = [...this.#deadlines].flatMap(([who, deadline]) => (deadline > nowMs ? [] : [who]));
    for (const who of late) this.#deadlines.delete(who);
    this.#tooLate += late.length;
    return late;
  }

  /** The earliest deadline, or Infinity. */
  get nextDeadline(): number {
    return Math.min(...this.#deadlines.values(), Infinity);
  }

  /** Milliseconds until all who wait, and one more, have had their turn, at the rate of late. */
  retryAfterMs(nowMs: number): number {
    return this.#drained.msUntil(this.#deadlines.size + 1, nowMs);
  }

  stats(): WaitingLineStats {
    return {
      waiting: this.#deadlines.size,
      size: this.#size,
      served: this.#served,
      tooLate: this.#tooLate,
      left: this.#left,
      refused: this.#refused,
    };
  }
}
