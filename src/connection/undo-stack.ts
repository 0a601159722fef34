// What must be undone when a set-up fails or a connection ends: run in reverse order, every step,
// once.

export class UndoStack {
  readonly #steps: (() => unknown)[] = [];
  #running: Promise<unknown[]> | undefined;

  /** `step` undoes what was just done; it may throw, or resolve with a list of failures. */
  add(step: () => unknown): void {
    this.#steps.push(step);
  }

  /** Like `add`, for what was there before anything else: it is undone last. */
  addFirst(step: () => unknown): void {
    this.#steps.unshift(step);
  }

  /**
   * Runs every step, last one first, even when some fail; resolves with the failures. Idempotent.
   */
  run(): Promise<unknown[]> {
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<unknown[]> {
    const failures: unknown[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        const result: unknown = await step();
        if (Array.isArray(result)) failures.push(...(result as unknown[]));
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }
}
