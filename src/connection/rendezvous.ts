// Payloads too large for a slot: offered from a registered buffer, pulled by RDMA READ, released
// when the peer says so.
import { VerbenaError, toVerbenaError } from '../errors.js';
import { PostOpcode } from '../native/addon.js';
import { LOCAL_ACCESS, OFFER_ACCESS, type MemoryRegion } from '../rdma/queue-pair.js';
import { DeadlineTimer } from './deadline-timer.js';
import type { Endpoint } from './endpoint.js';
import { MessageType, encodeOffer, type Offer } from './header.js';
import type { Operation, OperationListener } from './operations.js';

/** Buffers offered to the peer at once, at most, and their bytes; one is always let through. */
const MAX_OFFERS = 16;
const MAX_OFFERED_BYTES = 16 * 1024 * 1024;
/** Bytes pulled and not yet finished with, at most; one payload is always let through. */
const MAX_PULLED_BYTES = 16 * 1024 * 1024;

interface OpenOffer {
  readonly id: number;
  readonly bytes: number;
  readonly deadline: number;
  /** Takes the memory back. */
  readonly close: () => void;
}

interface Pull {
  readonly id: number;
  readonly offer: Offer;
}

export interface RendezvousOptions {
  readonly endpoint: Endpoint;
  /** An offer that the peer has not released by then is withdrawn. */
  readonly timeoutMs: number;
  /** The peer has read the offer with this id, or (`failed`) gave it up. */
  readonly onReleased: (id: number, failed: boolean) => void;
  /** The peer never released the offer. */
  readonly onExpired: (id: number) => void;
  /**
   * The payload has arrived. It belongs to the callee; `finished` takes its bytes off the budget.
   */
  readonly onPulled: (id: number, payload: Uint8Array) => void;
  readonly onPullFailed: (id: number, error: VerbenaError) => void;
}

export class Rendezvous implements OperationListener {
  readonly #options: RendezvousOptions;
  readonly #offers = new Map<number, OpenOffer>();
  readonly #waitingPulls: Pull[] = [];
  readonly #timer = new DeadlineTimer((now) => this.#expire(now));
  #offeredBytes = 0;
  #pulledBytes = 0;
  #isStopped = false;
  #idleWaiters: (() => void)[] = [];

  constructor(options: RendezvousOptions) {
    this.#options = options;
  }

  get hasOffers(): boolean {
    return this.#offers.size > 0;
  }

  canOffer(bytes: number): boolean {
    const { size } = this.#offers;
    return size === 0 || (size < MAX_OFFERS && this.#offeredBytes + bytes <= MAX_OFFERED_BYTES);
  }

  /**
   * Offers a copy of the payload under an id; throws when memory cannot be had. The caller checked
   * `canOffer`.
   */
  offer(id: number, flags: number, word: number, payload: Uint8Array): void {
    const { qp } = this.#options.endpoint;
    // Written before anybody is told of it.
    const region = qp.registerUnzeroed(payload.length, OFFER_ACCESS);
    region.slab.bytes.set(payload);
    const { rkey } = region;
    const { length } = payload;
    this.#open(id, flags, word, { rkey, length, offset: 0 }, () => qp.release(region));
  }

  /** The same without a copy, where the payload was allocated for that and will not change. */
  offerInPlace(id: number, flags: number, word: number, payload: Uint8Array): void {
    const { qp } = this.#options.endpoint;
    const range = qp.offerInPlace(payload);
    if (range === undefined) {
      this.offer(id, flags, word, payload);
      return;
    }
    const { rkey, offset } = range;
    const { length } = payload;
    this.#open(id, flags, word, { rkey, length, offset }, () => qp.withdraw(range));
  }

  #open(id: number, flags: number, word: number, offer: Offer, close: () => void): void {
    const { endpoint, timeoutMs } = this.#options;
    const bytes = offer.length;
    const deadline = performance.now() + timeoutMs;
    this.#offers.set(id, { id, bytes, deadline, close });
    this.#offeredBytes += bytes;
    this.#countTransfers(1);
    this.#timer.arm(deadline);
    endpoint.stats.offers++;
    endpoint.send(MessageType.rendezvous, flags, id, word, encodeOffer(offer));
  }

  /** Resolves when no offer is open. */
  idle(): Promise<void> {
    if (this.#offers.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** The peer's `rendezvous-done`. False when there is no such offer. */
  release(id: number, failed: boolean): boolean {
    const offer = this.#offers.get(id);
    if (offer === undefined) return false;
    this.#withdraw(offer);
    this.#options.onReleased(id, failed);
    return true;
  }

  /** Reads what the peer offers, now or when the budget allows. */
  pull(id: number, offer: Offer): void {
    this.#waitingPulls.push({ id, offer });
    this.#startPulls();
  }

  /** The receiver of a pulled payload is done with it. */
  finished(bytes: number): void {
    this.#pulledBytes -= bytes;
    this.#startPulls();
  }

  /** Tells the peer that its offer may go. */
  sendDone(id: number, failed: boolean): void {
    this.#options.endpoint.send(MessageType.rendezvousDone, 0, id, failed ? 1 : 0);
  }

  /** No more callbacks; the memory goes with the queue pair. */
  stop(): void {
    this.#isStopped = true;
    this.#timer.stop();
    this.#countTransfers(-this.#offers.size);
    this.#offers.clear();
    this.#waitingPulls.length = 0;
    this.#wakeIdle();
  }

  onOperationDone(operation: Operation): void {
    if (this.#isStopped) return;
    const { endpoint, onPulled } = this.#options;
    const { id, offer } = operation.context as Pull;
    let payload: Uint8Array;
    try {
      payload = endpoint.qp.surrender(operation.region as MemoryRegion, offer.length);
    } catch (error) {
      endpoint.fail(toVerbenaError(error, 'ERR_VERBENA_VERBS'));
      return;
    }
    endpoint.stats.pulls++;
    endpoint.stats.bytesPulled += offer.length;
    this.sendDone(id, false);
    onPulled(id, payload);
  }

  #startPulls(): void {
    const { endpoint } = this.#options;
    while (!this.#isStopped) {
      const next = this.#waitingPulls[0];
      if (next === undefined) return;
      const bytes = next.offer.length;
      if (this.#pulledBytes > 0 && this.#pulledBytes + bytes > MAX_PULLED_BYTES) return;
      const operation = endpoint.operations.take();
      if (operation === undefined) {
        endpoint.operations.whenFree(() => this.#startPulls());
        return;
      }
      this.#waitingPulls.shift();
      this.#pulledBytes += bytes;
      this.#startPull(next, operation);
    }
  }

  #startPull(pull: Pull, operation: Operation): void {
    const { endpoint, onPullFailed } = this.#options;
    let region: MemoryRegion;
    try {
      region = endpoint.qp.registerUnzeroed(pull.offer.length, LOCAL_ACCESS);
    } catch (error) {
      endpoint.operations.putBack(operation);
      this.#pulledBytes -= pull.offer.length;
      this.sendDone(pull.id, true);
      onPullFailed(pull.id, toVerbenaError(error, 'ERR_VERBENA_NO_MEMORY'));
      return;
    }
    operation.opcode = PostOpcode.read;
    operation.listener = this;
    operation.useRegion(region, 0);
    operation.length = pull.offer.length;
    operation.remoteOffset = pull.offer.offset;
    operation.rkey = pull.offer.rkey;
    operation.context = pull;
    endpoint.operations.submit(operation);
  }

  #withdraw(offer: OpenOffer): void {
    this.#offers.delete(offer.id);
    this.#offeredBytes -= offer.bytes;
    this.#countTransfers(-1);
    if (this.#offers.size === 0) this.#wakeIdle();
    const { endpoint } = this.#options;
    try {
      offer.close();
    } catch (error) {
      endpoint.fail(toVerbenaError(error, 'ERR_VERBENA_VERBS'));
    }
    endpoint.schedule();
  }

  /** What the peer reads moves by what this side's device answers. */
  #countTransfers(change: number): void {
    this.#options.endpoint.qp.device.group.countTransfers(change);
  }

  #wakeIdle(): void {
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }

  #expire(now: number): number {
    let next = Infinity;
    for (const offer of [...this.#offers.values()]) {
      if (offer.deadline > now) {
        next = Math.min(next, offer.deadline);
        continue;
      }
      this.#options.endpoint.stats.offersExpired++;
      this.#withdraw(offer);
      this.#options.onExpired(offer.id);
    }
    return next;
  }
}

/** The error of what waited for its turn, and whose memory is gone since. */
export function memoryGoneError(what: string): VerbenaError {
  return new VerbenaError(
    'ERR_VERBENA_INVALID_OPTION',
    `the memory of a ${what} was released, or transferred to another thread, before its end`,
  );
}

/** The error of a request whose offer was not read in time, or not at all. */
export function rendezvousError(what: string): VerbenaError {
  return new VerbenaError('ERR_VERBENA_RENDEZVOUS', `a large payload was not transferred: ${what}`);
}
