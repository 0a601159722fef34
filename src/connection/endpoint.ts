// One side of an RDMA connection: its queue pair, its rings, and what a completion means.
import { VerbenaError } from '../errors.js';
import { COMPLETION_POST_FAILED, PostOpcode } from '../native/addon.js';
import type { Device } from '../rdma/device.js';
import type { CompletionSink, TickTask } from '../rdma/poll-group.js';
import {
  LOCAL_ACCESS,
  QueuePair,
  type ConnectOptions,
  type MemoryRegion,
} from '../rdma/queue-pair.js';
import type { PortChoice } from '../rdma/addressing.js';
import {
  WC_FLUSH_ERR,
  WC_RECV_RDMA_WITH_IMM,
  WC_SUCCESS,
  describeWcStatus,
  wcStatusName,
} from '../rdma/work-completion.js';
import { Credits, EXTRA_RECEIVES } from './credits.js';
import {
  HEADER_BYTES,
  MessageType,
  emptyHeader,
  readHeader,
  type MessageHeader,
} from './header.js';
import { OperationQueue } from './operations.js';
import { SEND_REF, SendQueue } from './send-queue.js';
import type { TrafficStats } from './traffic-stats.js';
import { WorkQueue, type RetireListener } from './work-queue.js';

/** Receives carry this bit and their slot; work requests of the send queue have it clear. */
export const RECEIVE_BIT = 0x8000_0000;
const OPERATION_DEPTH = 16;
/**
 * Wanted of adapters, which then need not fetch the bytes; they grant what they have. The soft
 * device copies either way, and would keep room for each work request.
 */
const MAX_INLINE_BYTES = 220;
/**
 * Messages handled in one turn of the event loop, by all connections that have some, and what each
 * of them may handle in any case. The rest waits for the next turn, and its receives with it.
 */
const TURN_MESSAGES = 64;
const LEAST_TURN_MESSAGES = 8;
/** Events after which the queue pair, or the device, is of no more use. */
const fatalEvents: ReadonlySet<string> = new Set([
  'QP_FATAL',
  'QP_REQ_ERR',
  'QP_ACCESS_ERR',
  'CQ_ERR',
  'DEVICE_FATAL',
]);

/** What the roles, client and server, make of what arrives. */
export interface EndpointUser {
  /**
   * A checked message; its payload is `header.length` bytes at `at` of `endpoint.bytes`, until the
   * call returns.
   */
  onMessage(header: MessageHeader, at: number): void;
  /** The peer's write with immediate arrived in the region. */
  onImmediate(value: number, byteLength: number): void;
  /** There is room to send again. */
  onWritable(): void;
  /** Once: the queue pair is broken. */
  onFailure(error: VerbenaError): void;
}

/** What arrived and is not handled: the messages of a SEND from `at` to `end`, or an immediate. */
interface Unread {
  readonly arrivedMs: number;
  readonly slot: number;
  at: number;
  readonly end: number;
  readonly isImmediate: boolean;
  readonly imm: number;
}

export interface QueuePairRequest {
  /** Names the owner in the registry; unique among live queue pairs. */
  readonly owner: string;
  readonly port: PortChoice;
  /** SENDs under way each way, at most. */
  readonly slots: number;
  /** Remote rights on the queue pair (`Access`). */
  readonly access: number;
}

/** A queue pair in INIT with queues for an endpoint of so many slots, or fewer. */
export function openQueuePair(device: Device, request: QueuePairRequest): QueuePair {
  const receiveDepth = request.slots + EXTRA_RECEIVES;
  return new QueuePair(device, {
    owner: request.owner,
    port: request.port,
    sendDepth: receiveDepth + OPERATION_DEPTH,
    receiveDepth,
    maxInline: device.pinsMemory ? MAX_INLINE_BYTES : 0,
    access: request.access,
  });
}

export interface EndpointOptions {
  /** SENDs under way each way, and the size of each, as agreed. */
  readonly slots: number;
  readonly slotBytes: number;
  readonly stats: TrafficStats;
}

/** Bytes that an endpoint registers for its rings. */
export function ringsBytes({
  slots,
  slotBytes,
}: Pick<EndpointOptions, 'slots' | 'slotBytes'>): number {
  return 2 * (slots + EXTRA_RECEIVES) * slotBytes;
}

export class Endpoint implements CompletionSink, TickTask, RetireListener {
  readonly qp: QueuePair;
  readonly sender: SendQueue;
  readonly operations: OperationQueue;
  readonly stats: TrafficStats;
  readonly slotBytes: number;
  /** The rings' memory; see `EndpointUser.onMessage`. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  scheduled = false;
  /** When the message that is handled now arrived, of `performance.now()`. */
  arrivedMs = 0;
  user: EndpointUser;
  readonly #credits: Credits;
  readonly #workQueue: WorkQueue;
  readonly #rings: MemoryRegion;
  readonly #receives: number;
  #scratch: MemoryRegion | undefined;
  readonly #header = emptyHeader();
  #failure: VerbenaError | undefined;
  #isStopped = false;
  /** Oldest first; never more than there are receives. */
  readonly #unread: Unread[] = [];
  #handledThisTurn = 0;
  readonly #settledWaiters: (() => void)[] = [];

  /** Registers the rings; throws when there is no memory for them. */
  constructor(qp: QueuePair, options: EndpointOptions, user: EndpointUser) {
    const { slots, slotBytes, stats } = options;
    this.qp = qp;
    this.user = user;
    this.stats = stats;
    this.slotBytes = slotBytes;
    this.#receives = slots + EXTRA_RECEIVES;
    const ringBytes = this.#receives * slotBytes;
    this.#rings = qp.register(ringsBytes(options), LOCAL_ACCESS);
    qp.user = this;
    this.bytes = this.#rings.slab.bytes;
    this.view = this.#rings.slab.view;
    const credits = new Credits(slots);
    // Half of the send ring, so that its slots come back although most SENDs ask for no completion.
    const workQueue = new WorkQueue(
      this.#receives + OPERATION_DEPTH,
      Math.floor(this.#receives / 2),
    );
    this.#credits = credits;
    this.#workQueue = workQueue;
    this.sender = new SendQueue({
      qp: this.qp,
      region: this.#rings,
      baseOffset: ringBytes,
      slotBytes,
      credits,
      workQueue,
      stats,
    });
    this.operations = new OperationQueue({
      qp: this.qp,
      workQueue,
      credits,
      depth: OPERATION_DEPTH,
      onSubmitted: () => this.schedule(),
    });
  }

  /** True until a failure or `stop`. */
  get isUsable(): boolean {
    return this.#failure === undefined && !this.#isStopped;
  }

  /**
   * Local memory of small operations, `slotBytes` bytes for each; registered for the first of them.
   */
  get scratch(): MemoryRegion {
    this.#scratch ??= this.qp.register(OPERATION_DEPTH * this.slotBytes, LOCAL_ACCESS);
    return this.#scratch;
  }

  isScratch(region: MemoryRegion): boolean {
    return region === this.#scratch;
  }

  get rings(): MemoryRegion {
    return this.#rings;
  }

  /** Posts every receive, then goes to RTS. */
  connect(options: ConnectOptions): void {
    this.qp.markUsed();
    for (let slot = 0; slot < this.#receives; slot++) this.#postReceive(slot);
    // Now, not at the end of the tick: the peer may send as soon as it hears of this queue pair.
    this.qp.device.group.flush();
    this.qp.connect(options);
  }

  /** Sends at the end of this tick, in line with what waits. */
  send(type: number, flags: number, id: number, word: number, payload?: Uint8Array): void {
    if (!this.isUsable) return;
    this.sender.send(type, flags, id, word, payload);
    this.schedule();
  }

  /** Resolves when everything that was sent has arrived at the peer's device, or never will. */
  settled(): Promise<void> {
    if (this.sender.isSettled || !this.isUsable) return Promise.resolve();
    this.sender.settle();
    this.schedule();
    return new Promise((resolve) => this.#settledWaiters.push(resolve));
  }

  schedule(): void {
    if (!this.#isStopped) this.qp.device.group.schedule(this);
  }

  runTick(): void {
    if (!this.isUsable) return;
    this.#handledThisTurn = 0;
    this.operations.pump();
    this.sender.sendWaiting();
    if (!this.sender.isBlocked) this.user.onWritable();
    this.sender.flush();
    if (this.#settledWaiters.length > 0 && this.sender.isSettled) this.#wakeSettled();
  }

  onCompletion(
    wrId: number,
    status: number,
    opcode: number,
    byteLength: number,
    imm: number,
    flags: number,
    vendorError: number,
  ): void {
    if (!this.isUsable) return;
    if (status !== WC_SUCCESS || (flags & COMPLETION_POST_FAILED) !== 0) {
      this.#onFailedCompletion(wrId, status, flags, vendorError);
      return;
    }
    if (wrId >= RECEIVE_BIT) {
      const isImmediate = opcode === WC_RECV_RDMA_WITH_IMM;
      this.#onReceived(wrId - RECEIVE_BIT, byteLength, isImmediate, imm);
    } else {
      this.#workQueue.retire(wrId, false, this);
    }
    this.schedule();
  }

  onRetired(ref: number): void {
    if (ref === SEND_REF) this.sender.onRetired();
    else this.operations.onRetired(ref - 1);
  }

  onDeviceEvent(event: string): void {
    if (!fatalEvents.has(event)) return;
    const isDevice = event === 'DEVICE_FATAL';
    this.fail(
      new VerbenaError(
        isDevice ? 'ERR_VERBENA_DEVICE_FATAL' : 'ERR_VERBENA_QP_ERROR',
        isDevice
          ? `the device ${this.qp.device.name} failed; its connections are gone (see dmesg)`
          : `queue pair ${this.qp.qpn} failed: ${event}`,
        { wcStatus: event },
      ),
    );
  }

  /** The peer broke the protocol: the connection cannot be trusted any more. */
  failProtocol(what: string): void {
    this.fail(new VerbenaError('ERR_VERBENA_PROTOCOL', `the peer broke the protocol: ${what}`));
  }

  /** The peer took more than it was granted, or does not give back: it is sent away. */
  failOveruse(what: string): void {
    this.fail(new VerbenaError('ERR_VERBENA_OVERUSE', `the client ${what}`));
  }

  /** Breaks the connection; the first failure is the one that counts. */
  fail(error: VerbenaError): void {
    if (!this.isUsable) return;
    this.#failure = error;
    this.#wakeSettled();
    this.user.onFailure(error);
  }

  /** Sends and hears nothing any more; the owner of the queue pair closes that. */
  stop(): void {
    this.#isStopped = true;
    this.sender.stop();
    this.operations.stop();
    this.#wakeSettled();
  }

  #wakeSettled(): void {
    for (const wake of this.#settledWaiters.splice(0)) wake();
  }

  #onFailedCompletion(wrId: number, status: number, flags: number, vendorError: number): void {
    const where = wrId >= RECEIVE_BIT ? 'a receive' : 'a send';
    if ((flags & COMPLETION_POST_FAILED) !== 0) {
      this.fail(
        new VerbenaError(
          'ERR_VERBENA_QP_ERROR',
          `posting ${where} to queue pair ${this.qp.qpn} failed with errno ${vendorError}`,
          { wcStatus: 'POST_FAILED' },
        ),
      );
      return;
    }
    const error = new VerbenaError(
      'ERR_VERBENA_QP_ERROR',
      `queue pair ${this.qp.qpn} failed: ${where} completed with ${describeWcStatus(status)}` +
        (vendorError === 0 ? '' : `, vendor error ${vendorError}`),
      { wcStatus: wcStatusName(status) },
    );
    // A flush is never the cause: an event or another completion that names it is probably on its
    // way. An event is read in one turn of the loop and delivered in the next.
    if (status === WC_FLUSH_ERR) setImmediate(() => setImmediate(() => this.fail(error)));
    else this.fail(error);
  }

  #onReceived(slot: number, byteLength: number, isImmediate: boolean, imm: number): void {
    this.stats.receivesCompleted++;
    if (!isImmediate) this.stats.bytesReceived += byteLength;
    const at = slot * this.slotBytes;
    const { deliveredMs: arrivedMs } = this.qp.device.group;
    this.#unread.push({ arrivedMs, slot, at, end: at + byteLength, isImmediate, imm });
    if (this.#unread.length === 1) this.#readOn();
  }

  readonly #readOn = (): void => {
    try {
      while (this.isUsable && this.#unread.length > 0 && !this.#hadItsTurn) this.#readNext();
    } finally {
      // Also what comes after a message whose handling threw.
      if (this.isUsable && this.#unread.length > 0) this.qp.device.group.resumeLater(this.#readOn);
      this.schedule();
    }
  };

  get #hadItsTurn(): boolean {
    const share = TURN_MESSAGES / this.qp.device.group.active;
    return this.#handledThisTurn >= Math.max(share, LEAST_TURN_MESSAGES);
  }

  #readNext(): void {
    const unread = this.#unread[0] as Unread;
    this.#handledThisTurn++;
    if (!unread.isImmediate) {
      this.#readMessage(unread);
      return;
    }
    this.#unread.shift();
    this.stats.immediates++;
    this.#repost(unread.slot, true);
    this.user.onImmediate(unread.imm, unread.end - unread.at);
  }

  #readMessage(unread: Unread): void {
    const header = this.#header;
    const { slot, at, end } = unread;
    this.arrivedMs = unread.arrivedMs;
    const start = slot * this.slotBytes;
    const wrong = readHeader(this.view, at, end, header) ?? this.#checkCredit(start, at, end);
    if (wrong !== undefined) {
      this.failProtocol(wrong);
      return;
    }
    unread.at += HEADER_BYTES + header.length;
    this.stats.messagesReceived++;
    const isLast = unread.at === end;
    if (isLast) this.#unread.shift();
    // A lone credit message cost the peer no credit.
    const isCredit = header.type === MessageType.credit;
    try {
      if (!isCredit) this.user.onMessage(header, at + HEADER_BYTES);
    } finally {
      if (isLast) this.#repost(slot, !isCredit);
    }
  }

  #checkCredit(start: number, at: number, end: number): string | undefined {
    const { type, length, credits } = this.#header;
    if (!this.#credits.add(credits)) return `it returned ${credits} credits that it had not taken`;
    if (type !== MessageType.credit) return undefined;
    const isAlone = at === start && end - start === HEADER_BYTES && length === 0;
    return isAlone ? undefined : 'a credit message is not alone';
  }

  #repost(slot: number, owed: boolean): void {
    if (!this.isUsable) return;
    if (owed && !this.#credits.owe()) {
      this.failProtocol('it sent more than its credits allow');
      return;
    }
    this.#postReceive(slot);
  }

  #postReceive(slot: number): void {
    const { qp, slotBytes } = this;
    qp.device.group.post(
      qp.index,
      PostOpcode.receive,
      0,
      RECEIVE_BIT + slot,
      this.#rings.index,
      slot * slotBytes,
      slotBytes,
    );
  }
}
