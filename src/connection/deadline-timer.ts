// One timer for many deadlines: set for the earliest, it asks its owner to act on those due and for
// the next.

export class DeadlineTimer {
  readonly #onDue: (now: number) => number;
  #timer: NodeJS.Timeout | undefined;
  #armedFor = Infinity;

  /** `onDue` acts on every deadline up to `now` and returns the earliest one left, or Infinity. */
  constructor(onDue: (now: number) => number) {
    this.#onDue = onDue;
  }

  /** Makes sure that the timer fires at `deadline` (of `performance.now()`) or earlier. */
  arm(deadline: number): void {
    if (deadline >= this.#armedFor) return;
    clearTimeout(this.#timer);
    this.#armedFor = deadline;
    const delayMs = Math.max(0, Math.ceil(deadline - performance.now()));
    this.#timer = setTimeout(this.#fire, delayMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#armedFor = Infinity;
  }

  readonly #fire = (): void => {
    this.#timer = undefined;
    this.#armedFor = Infinity;
    const next = this.#onDue(performance.now());
    if (next !== Infinity) this.arm(next);
  };
}
