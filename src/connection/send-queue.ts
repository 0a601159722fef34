// Gathers the messages of one tick into SENDs: slots of the send ring, credits, inline data, and
// what waits for room.
import { PostFlag, PostOpcode } from '../native/addon.js';
import type { MemoryRegion, QueuePair } from '../rdma/queue-pair.js';
import { EXTRA_RECEIVES, type Credits } from './credits.js';
import { HEADER_BYTES, MessageType, writeCredits, writeHeader } from './header.js';
import type { TrafficStats } from './traffic-stats.js';
import type { WorkQueue } from './work-queue.js';

/** `ref` of a SEND in the work queue. */
export const SEND_REF = 0;

/** Is told about one SEND. */
export interface SendWatch {
  /** It is handed to the device now. */
  onPosted(): void;
  /** The peer's device has it. */
  onAcknowledged(): void;
}

interface WaitingMessage {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly word: number;
  readonly payload: Uint8Array | undefined;
  watch: SendWatch | undefined;
}

/** A watched SEND that is posted, by the number of slots taken with it. */
interface WatchedSend {
  readonly taken: number;
  readonly watches: readonly SendWatch[];
}

export interface SendQueueOptions {
  readonly qp: QueuePair;
  readonly region: MemoryRegion;
  /** Where the send ring starts in the region. */
  readonly baseOffset: number;
  readonly slotBytes: number;
  readonly credits: Credits;
  readonly workQueue: WorkQueue;
  readonly stats: TrafficStats;
}

/** Whether it ends a request, as far as what a server sends goes. */
function isAnswer(type: number): boolean {
  return type !== MessageType.rendezvousDone;
}

export class SendQueue {
  /** Largest payload that fits a slot with its header. */
  readonly maxPayloadBytes: number;
  readonly #options: SendQueueOptions;
  readonly #slots: number;
  readonly #waiting: WaitingMessage[] = [];
  #waitingAnswers = 0;
  /** Slots ever taken and ever retired; they retire in order. */
  #taken = 0;
  #retired = 0;
  /** Bytes in the slot being filled; 0 when none is. */
  #openBytes = 0;
  /** Whether the newest SEND was posted with a completion. */
  #isLastSignaled = true;
  #mustSettle = false;
  /** Of the SEND being filled. */
  #openWatches: SendWatch[] = [];
  readonly #watched: WatchedSend[] = [];
  /** Whether the last message that wanted a new SEND found no room for it. */
  #isStalled = false;
  /** When the first of those that wait began to, or the last one before it left. */
  #blockedSince = Infinity;

  constructor(options: SendQueueOptions) {
    this.#options = options;
    this.#slots = options.credits.window + EXTRA_RECEIVES;
    this.maxPayloadBytes = options.slotBytes - HEADER_BYTES;
  }

  /** True when everything that was given has arrived at the peer's device. */
  get isSettled(): boolean {
    return !this.isBlocked && this.#openBytes === 0 && this.#taken === this.#retired;
  }

  /** From now on every SEND asks for a completion, so that `isSettled` comes true. */
  settle(): void {
    this.#mustSettle = true;
  }

  /** True when `send` would have to wait behind others. */
  get isBlocked(): boolean {
    return this.#waiting.length > 0;
  }

  /** Answers to requests that wait for room. */
  get waitingAnswers(): number {
    return this.#waitingAnswers;
  }

  /** Since when nothing has left although something waits (of `performance.now()`), or Infinity. */
  get blockedSince(): number {
    return this.#blockedSince;
  }

  /**
   * Puts a message into the SEND being filled, or a new one. False when there is neither credit nor
   * slot; then nothing happened. The payload must fit `maxPayloadBytes`, and is copied.
   */
  tryAppend(
    type: number,
    flags: number,
    id: number,
    word: number,
    payload: Uint8Array | undefined,
  ): boolean {
    const length = payload === undefined ? 0 : payload.length;
    const { slotBytes, region, stats } = this.#options;
    if (length > this.maxPayloadBytes) throw new RangeError(`${length} bytes do not fit a slot`);
    if (this.#openBytes + HEADER_BYTES + length > slotBytes) this.#post();
    if (this.#openBytes === 0 && !this.#open()) return false;
    const at = this.#slotOffset() + this.#openBytes;
    writeHeader(region.slab.view, at, type, flags, id, length, word);
    if (payload !== undefined) region.slab.bytes.set(payload, at + HEADER_BYTES);
    this.#openBytes += HEADER_BYTES + length;
    stats.messagesSent++;
    return true;
  }

  /** Appends, or waits in line for room, with a copy of the payload. */
  send(
    type: number,
    flags: number,
    id: number,
    word: number,
    payload: Uint8Array | undefined,
  ): void {
    if (!this.isBlocked && this.tryAppend(type, flags, id, word, payload)) return;
    if (!this.isBlocked) this.#blockedSince = performance.now();
    this.#waiting.push({ type, flags, id, word, payload: payload?.slice(), watch: undefined });
    if (isAnswer(type)) this.#countWaiting(1);
  }

  /** Tells about the SEND of the message that was given last, which gets a completion. */
  watch(watch: SendWatch): void {
    const last = this.#waiting.at(-1);
    if (last === undefined) this.#openWatches.push(watch);
    else last.watch = watch;
  }

  /** Sends what waits, as far as there is room. */
  sendWaiting(): void {
    let sent = 0;
    for (const { type, flags, id, word, payload, watch } of this.#waiting) {
      if (!this.tryAppend(type, flags, id, word, payload)) break;
      if (watch !== undefined) this.#openWatches.push(watch);
      if (isAnswer(type)) this.#countWaiting(-1);
      sent++;
    }
    if (sent === 0) return;
    this.#waiting.splice(0, sent);
    this.#blockedSince = this.isBlocked ? performance.now() : Infinity;
  }

  /** What waits will never be sent. */
  stop(): void {
    this.#waiting.length = 0;
    this.#countWaiting(-this.#waitingAnswers);
  }

  /** Ends the tick: posts the SEND being filled, and returns credits that are due by themselves. */
  flush(): void {
    this.#post();
    const { credits, region, stats } = this.#options;
    // The last SEND may have gone without a completion: a lone credit message, which costs nothing,
    // asks for one.
    const mustAsk = this.#mustSettle && !this.#isLastSignaled;
    if (!credits.mustReturn && !mustAsk) return;
    if (this.#taken - this.#retired === this.#slots) return;
    writeHeader(region.slab.view, this.#slotOffset(), MessageType.credit, 0, 0, 0, 0);
    this.#openBytes = HEADER_BYTES;
    stats.creditMessagesSent++;
    this.#post();
  }

  /** The oldest SEND is complete: its slot is free. */
  onRetired(): void {
    this.#retired++;
    if (this.#watched.length > 0) this.#tellAcknowledged();
  }

  #tellAcknowledged(): void {
    const [first] = this.#watched;
    if (first?.taken !== this.#retired) return;
    this.#watched.shift();
    for (const watch of first.watches) watch.onAcknowledged();
  }

  #open(): boolean {
    const { credits, stats } = this.#options;
    if (credits.available === 0 || this.#taken - this.#retired === this.#slots) {
      if (!this.#isStalled) stats.creditStalls++;
      this.#isStalled = true;
      return false;
    }
    this.#isStalled = false;
    credits.spend();
    return true;
  }

  #countWaiting(change: number): void {
    this.#waitingAnswers += change;
    this.#options.stats.answersWaiting += change;
  }

  #slotOffset(): number {
    const { baseOffset, slotBytes } = this.#options;
    return baseOffset + (this.#taken % this.#slots) * slotBytes;
  }

  #post(): void {
    if (this.#openBytes === 0) return;
    const { qp, region, credits, workQueue, stats } = this.#options;
    const at = this.#slotOffset();
    writeCredits(region.slab.view, at, credits.takeOwed());
    const isWatched = this.#openWatches.length > 0;
    const wrId = workQueue.push(SEND_REF, this.#mustSettle || isWatched);
    this.#isLastSignaled = workQueue.lastSignaled;
    const flags =
      (workQueue.lastSignaled ? PostFlag.signaled : 0) |
      (this.#openBytes <= qp.maxInline ? PostFlag.inline : 0);
    qp.device.group.post(qp.index, PostOpcode.send, flags, wrId, region.index, at, this.#openBytes);
    stats.sendsPosted++;
    stats.bytesSent += this.#openBytes;
    this.#taken++;
    this.#openBytes = 0;
    if (isWatched) this.#tellPosted();
  }

  #tellPosted(): void {
    const watches = this.#openWatches;
    this.#openWatches = [];
    this.#watched.push({ taken: this.#taken, watches });
    for (const watch of watches) watch.onPosted();
  }
}
