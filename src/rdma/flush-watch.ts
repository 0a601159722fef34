// Gives flushes up that the device owes for too long.
//
// Ticks are counted, not time, each with a turn of the event loop: while this thread was busy with
// something else, nobody asked the device. Nor is it the device that is late while it has more
// completions than this thread can handle, as when thousands of queue pairs end together.
import { VerbenaError } from '../errors.js';

const TICK_MS = 50;
const TICKS = 20;
/** What a tick counts in which completions waited for this thread: that has an end, too. */
const BEHIND_WEIGHT = 1 / 30;

/** How long the device may take for a flush, in milliseconds. */
export const FLUSH_TIMEOUT_MS = TICK_MS * TICKS;

/** One flush under way. */
export interface PendingFlush {
  /** Rejects with ERR_VERBENA_CLEANUP when the device took too long. */
  readonly finished: Promise<void>;
  /** Everything is flushed. */
  readonly finish: () => void;
}

interface Waiting {
  readonly owner: string;
  ticksLeft: number;
  readonly giveUp: (error: VerbenaError) => void;
}

export class FlushWatch {
  readonly #fullBatches: () => number;
  readonly #waiting = new Set<Waiting>();
  #seenBatches = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `fullBatches` counts how often this thread got as many completions as it takes at once. */
  constructor(fullBatches: () => number) {
    this.#fullBatches = fullBatches;
  }

  /** Begins to count for `owner`. */
  begin(owner: string): PendingFlush {
    let finish!: () => void;
    const finished = new Promise<void>((resolve, reject) => {
      const waiting = { owner, ticksLeft: TICKS, giveUp: reject };
      this.#waiting.add(waiting);
      finish = () => {
        this.#remove(waiting);
        resolve();
      };
    });
    this.#timer ??= setInterval(this.#tick, TICK_MS);
    return { finished, finish };
  }

  readonly #tick = (): void => {
    const batches = this.#fullBatches();
    const weight = batches === this.#seenBatches ? 1 : BEHIND_WEIGHT;
    this.#seenBatches = batches;
    for (const waiting of this.#waiting) {
      waiting.ticksLeft -= weight;
      if (waiting.ticksLeft > 0) continue;
      this.#remove(waiting);
      waiting.giveUp(
        new VerbenaError(
          'ERR_VERBENA_CLEANUP',
          `${waiting.owner}: the device did not flush the queue pair within ${FLUSH_TIMEOUT_MS} ms`,
        ),
      );
    }
  };

  #remove(waiting: Waiting): void {
    this.#waiting.delete(waiting);
    if (this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
