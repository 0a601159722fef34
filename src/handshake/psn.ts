// Packet sequence numbers that no two live sessions of a server share.
import { randomInt } from 'node:crypto';
import { VerbenaError } from '../errors.js';

const PSN_SPACE = 2 ** 24;

/** A fresh, unpredictable 24-bit number. */
export function drawPsn(): number {
  return randomInt(PSN_SPACE);
}

export class PsnSet {
  readonly #live = new Set<number>();
  readonly #source: () => number;

  constructor(source: () => number = drawPsn) {
    this.#source = source;
  }

  get size(): number {
    return this.#live.size;
  }

  /** Claims the number that a client chose; throws ERR_VERBENA_PSN_IN_USE. */
  claim(psn: number): void {
    if (this.#live.has(psn)) {
      throw new VerbenaError(
        'ERR_VERBENA_PSN_IN_USE',
        'a live session uses this packet sequence number; draw another',
      );
    }
    this.#live.add(psn);
  }

  /** Claims a number of our own. */
  draw(): number {
    let psn = this.#source();
    while (this.#live.has(psn)) psn = this.#source();
    this.#live.add(psn);
    return psn;
  }

  free(psn: number): void {
    this.#live.delete(psn);
  }
}
