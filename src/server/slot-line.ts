// The line of clients for a slot of the server: who came first goes first, and who waits for too
// long, or finds the line full, is told when to come back.
import { WaitingLine, type WaitingLineStats } from '../admission/waiting-line.js';
import { DeadlineTimer } from '../connection/deadline-timer.js';
import { AdmissionRefusal } from './refusal.js';

/** A client that has said hello and may have to wait. */
export interface SlotSeeker {
  onTurn(): void;
  onTooLate(refusal: AdmissionRefusal): void;
}

export interface SlotLineOptions {
  readonly size: number;
  readonly timeoutMs: number;
  readonly slots: { readonly isFull: boolean; readonly capacity: number };
}

export class SlotLine {
  readonly #slots: SlotLineOptions['slots'];
  readonly #line: WaitingLine<SlotSeeker>;
  readonly #timer = new DeadlineTimer((now) => this.#expire(now));

  constructor({ size, timeoutMs, slots }: SlotLineOptions) {
    this.#slots = slots;
    this.#line = new WaitingLine(size, timeoutMs);
  }

  /** Has its turn now or later; throws when the line is full. */
  arrive(seeker: SlotSeeker): void {
    if (!this.#slots.isFull && this.#line.waiting === 0) {
      seeker.onTurn();
      return;
    }
    const now = performance.now();
    const deadline = this.#line.join(seeker, now);
    if (deadline === undefined) throw this.#refusal('full', 'and nobody else can wait', now);
    this.#timer.arm(deadline);
  }

  /** It waits no longer: it is gone, or refused for another reason. */
  leave(seeker: SlotSeeker): void {
    this.#line.leave(seeker);
  }

  onSlotFreed(): void {
    this.#line.noteFreed(performance.now());
    this.serve();
  }

  /** Lets in who waits, as far as there is room. */
  serve(): void {
    while (!this.#slots.isFull) {
      const seeker = this.#line.next();
      if (seeker === undefined) return;
      seeker.onTurn();
    }
  }

  resize(size: number, timeoutMs: number): void {
    this.#line.resize(size, timeoutMs);
  }

  stats(): WaitingLineStats {
    return this.#line.stats();
  }

  #expire(now: number): number {
    const after = `and none came free within ${this.#line.timeoutMs} ms`;
    for (const seeker of this.#line.expire(now)) {
      seeker.onTooLate(this.#refusal('waited', after, now));
    }
    return this.#line.nextDeadline;
  }

  #refusal(reason: 'full' | 'waited', after: string, now: number): AdmissionRefusal {
    return new AdmissionRefusal(
      reason,
      `all ${this.#slots.capacity} connections of the server are taken, ${after}`,
      this.#line.retryAfterMs(now),
    );
  }
}
