// The ledger of one send queue: what was posted in which order, which completion retires what, and
// when to ask for one.

const SEQUENCE_MASK = 0x7fff_ffff;

/** Told about each retired work request, oldest first. */
export interface RetireListener {
  /** `ref` as given to `push`; `failed` only for the last one of a failed completion. */
  onRetired(ref: number, failed: boolean): void;
}

export class WorkQueue {
  readonly depth: number;
  // A power of two long, so that positions stay cheap however far the counters run.
  readonly #refs: Uint16Array;
  readonly #mask: number;
  readonly #signalEvery: number;
  #head = 0;
  #tail = 0;
  #unsignaled = 0;

  /** `signalEvery`: longest run without a completion; at most half the depth. */
  constructor(depth: number, signalEvery: number) {
    this.depth = depth;
    const capacity = 2 ** Math.ceil(Math.log2(depth));
    this.#refs = new Uint16Array(capacity);
    this.#mask = capacity - 1;
    this.#signalEvery = Math.max(1, Math.min(signalEvery, Math.floor(depth / 2)));
  }

  /** Work requests posted and not retired. */
  get outstanding(): number {
    return this.#head - this.#tail;
  }

  get room(): number {
    return this.depth - this.outstanding;
  }

  /**
   * Enters a work request and returns its identifier. `mustSignal` asks for a completion; otherwise
   * one is due now and then. See `lastSignaled`.
   */
  push(ref: number, mustSignal: boolean): number {
    if (this.room === 0) throw new Error('the send queue is full: its users keep to less');
    this.#refs[this.#head & this.#mask] = ref;
    const id = this.#head & SEQUENCE_MASK;
    this.#head++;
    this.#unsignaled++;
    this.lastSignaled = mustSignal || this.#unsignaled >= this.#signalEvery;
    if (this.lastSignaled) this.#unsignaled = 0;
    return id;
  }

  /** Whether the work request just pushed must be posted with a completion. */
  lastSignaled = false;

  /**
   * A completion arrived: every work request up to it is done. Returns false for an identifier that
   * is not outstanding.
   */
  retire(id: number, failed: boolean, listener: RetireListener): boolean {
    const count = ((id - this.#tail) & SEQUENCE_MASK) + 1;
    if (count > this.outstanding) return false;
    const last = this.#tail + count;
    while (this.#tail < last) {
      const ref = this.#refs[this.#tail & this.#mask] as number;
      this.#tail++;
      listener.onRetired(ref, failed && this.#tail === last);
    }
    return true;
  }
}
