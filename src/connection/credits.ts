// Credits of one connection: how many SENDs the peer has room for, and how many of its credits we
// owe it.
//
// Each side posts `window` + EXTRA_RECEIVES receives and grants `window` credits. A SEND that holds
// a lone credit message costs none: at most EXTRA_RECEIVES of those can be under way, since the
// next half window of SENDs, which makes the next one due, needs the credits that the first of them
// carries.

/** Receives posted beyond the window, for credit messages. */
export const EXTRA_RECEIVES = 2;

export class Credits {
  readonly window: number;
  /** Debt at which credits are returned without waiting for a message to carry them. */
  readonly threshold: number;
  #available: number;
  #owed = 0;

  constructor(window: number) {
    this.window = window;
    this.threshold = Math.ceil(window / 2);
    this.#available = window;
  }

  /** SENDs that the peer has room for. */
  get available(): number {
    return this.#available;
  }

  /** Receives posted again that the peer does not know of yet. */
  get owed(): number {
    return this.#owed;
  }

  get mustReturn(): boolean {
    return this.#owed >= this.threshold;
  }

  /** One SEND leaves. The caller checked `available`. */
  spend(): void {
    this.#available--;
  }

  /** Credits from the peer; false when it returned more than it had taken. */
  add(count: number): boolean {
    if (count > this.window - this.#available) return false;
    this.#available += count;
    return true;
  }

  /**
   * A receive that a SEND of the peer had used is posted again; false when the peer sent without
   * credit.
   */
  owe(): boolean {
    if (this.#owed >= this.window) return false;
    this.#owed++;
    return true;
  }

  /** Everything owed, now on its way to the peer. */
  takeOwed(): number {
    const owed = this.#owed;
    this.#owed = 0;
    return owed;
  }
}
