// How fast something gets done of late, and when there will be room again at that rate.

const WINDOW_MS = 1000;
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
    if (nowMs - this.#windowStart >= WINDOW_MS) this.#turn(nowMs);
    this.#count++;
  }

  perSecond(nowMs: number): number {
    if (nowMs - this.#windowStart >= WINDOW_MS) this.#turn(nowMs);
    const into = nowMs - this.#windowStart;
    const share = 1 - into / WINDOW_MS;
    // Shorter than a window until one has passed: the start is no slowness.
    const overMs = Math.max(1, Math.min(WINDOW_MS, nowMs - this.#firstAt));
    return ((this.#count + this.#countBefore * share) * 1000) / overMs;
  }

  /** Milliseconds until `ahead` more are done. */
  msUntil(ahead: number, nowMs: number): number {
    const rate = this.perSecond(nowMs);
    if (rate === 0) return UNKNOWN_MS;
    return Math.min(LONGEST_MS, Math.max(1, Math.ceil((ahead * 1000) / rate)));
  }

  #turn(nowMs: number): void {
    const isNext = nowMs - this.#windowStart < 2 * WINDOW_MS;
    if (!isNext) this.#firstAt = nowMs;
    this.#countBefore = isNext ? this.#count : 0;
    this.#windowStart = isNext ? this.#windowStart + WINDOW_MS : nowMs;
    this.#count = 0;
  }
}
