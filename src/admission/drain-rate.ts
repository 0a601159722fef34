// How fast something gets done of late, and when there will be room again at that rate.

const WINDOW_MS = 1000;
/** Two at once are no rate yet. */
const LEAST_MS = 100;
/** What is told while nothing gets done. */
const UNKNOWN_MS = 1000;
const LONGEST_MS = 30_000;

/** Counts what is done in a window that slides over the last second. Times: `performance.now()`. */
export class DrainRate {
  #windowStart = -Infinity;
  #firstAt = -Infinity;
  #count = 0;
  #countBefore = 0;

  /** One more is done. */
  note(nowMs: number): void {
    const age = nowMs - this.#windowStart;
    if (age >= 2 * WINDOW_MS) {
      // A rate takes two: the first after a pause only starts the clock.
      this.#firstAt = nowMs;
      this.#windowStart = nowMs;
      this.#count = 0;
      this.#countBefore = 0;
      return;
    }
    if (age >= WINDOW_MS) {
      this.#windowStart += WINDOW_MS;
      this.#countBefore = this.#count;
      this.#count = 0;
    }
    this.#count++;
  }

  perSecond(nowMs: number): number {
    const age = nowMs - this.#windowStart;
    if (age >= 2 * WINDOW_MS) return 0;
    const isOver = age >= WINDOW_MS;
    const before = isOver ? this.#count : this.#countBefore;
    const count = isOver ? 0 : this.#count;
    const share = 1 - (isOver ? age - WINDOW_MS : age) / WINDOW_MS;
    // Shorter than a window until one has passed: the start is no slowness.
    const overMs = Math.max(LEAST_MS, Math.min(WINDOW_MS, nowMs - this.#firstAt));
    return ((count + before * share) * 1000) / overMs;
  }

  /** Milliseconds until `ahead` more are done. */
  msUntil(ahead: number, nowMs: number): number {
    const rate = this.perSecond(nowMs);
    if (rate === 0) return UNKNOWN_MS;
    return Math.min(LONGEST_MS, Math.max(1, Math.ceil((ahead * 1000) / rate)));
  }
}
