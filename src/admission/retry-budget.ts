// How many retries there may be: a share of what is asked, so that retries never make an overload
// much worse.

/** Retries that are possible at the start, before anything was asked. */
const RESERVE = 10;
/** What quiet times may save up. */
const MOST = 100;

export class RetryBudget {
  readonly #share: number;
  #tokens = RESERVE;

  /** `share`: retries for each first attempt, 0 to 1. */
  constructor(share: number) {
    this.#share = share;
  }

  /** Something is attempted for the first time. */
  earn(): void {
    this.#tokens = Math.min(MOST, this.#tokens + this.#share);
  }

  /** Takes a retry; false when too many were. */
  spend(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
