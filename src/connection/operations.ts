// READ, WRITE and atomic operations of one connection: in order, in chunks, never more than the
// send queue holds.
import { PostFlag, PostOpcode } from '../native/addon.js';
import type { MemoryRegion, QueuePair } from '../rdma/queue-pair.js';
import type { Credits } from './credits.js';
import type { WorkQueue } from './work-queue.js';

/** A long transfer goes in pieces, so that SENDs posted meanwhile do not wait for all of it. */
const CHUNK_BYTES = 256 * 1024;
/**
 * Bytes under way; more would only queue in the device, and what others send to it, or it to them,
 * behind them.
 */
const MAX_BYTES_UNDER_WAY = 2 * CHUNK_BYTES;

/** What takes so long that its thread had better not sleep meanwhile. */
const TRANSFER_BYTES = 32 * 1024;

export type OperationOpcode =
  | typeof PostOpcode.read
  | typeof PostOpcode.write
  | typeof PostOpcode.writeWithImm
  | typeof PostOpcode.fetchAdd
  | typeof PostOpcode.compareSwap;

export interface OperationListener {
  /** The operation succeeded. Its object is used again after this call. */
  onOperationDone(operation: Operation): void;
}

/** One operation. The objects are made once per connection and reused. */
export class Operation {
  readonly slot: number;
  opcode: OperationOpcode = PostOpcode.read;
  listener: OperationListener | undefined;
  /** Local memory: `length` bytes at `localOffset` of the region. */
  region: MemoryRegion | undefined;
  localOffset = 0;
  length = 0;
  remoteOffset = 0;
  rkey = 0;
  imm = 0;
  compareAdd = 0n;
  swap = 0n;
  /** For the listener. */
  context: unknown;
  resolve: ((value: never) => void) | undefined;
  reject: ((error: Error) => void) | undefined;
  /** Progress. */
  posted = 0;
  retired = 0;
  isPosted = false;

  constructor(slot: number) {
    this.slot = slot;
  }

  reset(): void {
    this.listener = undefined;
    this.region = undefined;
    this.context = undefined;
    this.resolve = undefined;
    this.reject = undefined;
    this.posted = 0;
    this.retired = 0;
    this.isPosted = false;
  }
}

function chunkLength(operation: Operation, from: number): number {
  return Math.min(CHUNK_BYTES, operation.length - from);
}

function isTransfer(operation: Operation): boolean {
  return operation.length >= TRANSFER_BYTES;
}

export interface OperationQueueOptions {
  readonly qp: QueuePair;
  readonly workQueue: WorkQueue;
  readonly credits: Credits;
  /** Operations, and work requests of operations, under way at most. */
  readonly depth: number;
  /** Called when something was submitted, to be followed by `pump` at the end of the tick. */
  readonly onSubmitted: () => void;
}

export class OperationQueue {
  readonly #options: OperationQueueOptions;
  /** Made when they are first needed: a server's connection may never operate. */
  readonly #slots: Operation[] = [];
  readonly #free: Operation[] = [];
  /** Submitted and not finished, oldest first; those before `#nextToPost` are posted whole. */
  readonly #active: Operation[] = [];
  #nextToPost = 0;
  #chunksUnderWay = 0;
  #bytesUnderWay = 0;
  #transfers = 0;
  readonly #slotWaiters: (() => void)[] = [];

  constructor(options: OperationQueueOptions) {
    this.#options = options;
  }

  /** Operations submitted and not finished. */
  get active(): number {
    return this.#active.length;
  }

  /** A free operation to fill in and submit, or undefined when all are in use. */
  take(): Operation | undefined {
    const free = this.#free.pop();
    if (free !== undefined || this.#slots.length === this.#options.depth) return free;
    const made = new Operation(this.#slots.length);
    this.#slots.push(made);
    return made;
  }

  /** Gives back an operation that was taken and not submitted. */
  putBack(operation: Operation): void {
    operation.reset();
    this.#free.push(operation);
    this.#slotWaiters.shift()?.();
  }

  /** Calls back once, in order of asking, when an operation is free. */
  whenFree(callback: () => void): void {
    this.#slotWaiters.push(callback);
  }

  submit(operation: Operation): void {
    this.#active.push(operation);
    if (isTransfer(operation)) this.#countTransfers(1);
    this.#options.onSubmitted();
  }

  /** Posts as much as the limits allow, strictly in order. */
  pump(): void {
    while (this.#nextToPost < this.#active.length) {
      const operation = this.#active[this.#nextToPost] as Operation;
      while (!operation.isPosted) {
        if (!this.#postChunk(operation)) return;
      }
      this.#nextToPost++;
    }
  }

  /** A work request of the operation in `slot` is complete. */
  onRetired(slot: number): void {
    const operation = this.#slots[slot] as Operation;
    const length = chunkLength(operation, operation.retired);
    operation.retired += length;
    this.#chunksUnderWay--;
    this.#bytesUnderWay -= length;
    if (operation.retired < operation.length) return;
    // Work requests retire in order, hence operations too.
    this.#active.shift();
    this.#nextToPost--;
    if (isTransfer(operation)) this.#countTransfers(-1);
    operation.listener?.onOperationDone(operation);
    this.putBack(operation);
  }

  /** Forgets everything; returns the operations that will not finish. */
  abandon(): Operation[] {
    this.#slotWaiters.length = 0;
    this.#nextToPost = 0;
    this.stop();
    return this.#active.splice(0);
  }

  /** What is under way does not move any more. */
  stop(): void {
    this.#countTransfers(-this.#transfers);
  }

  #countTransfers(change: number): void {
    this.#transfers += change;
    this.#options.qp.device.group.countTransfers(change);
  }

  #postChunk(operation: Operation): boolean {
    if (this.#chunksUnderWay === this.#options.depth) return false;
    if (this.#bytesUnderWay >= MAX_BYTES_UNDER_WAY) return false;
    const length = chunkLength(operation, operation.posted);
    const isLast = operation.posted + length === operation.length;
    if (isLast && operation.opcode === PostOpcode.writeWithImm && !this.#spendCredit())
      return false;
    this.#post(operation, length, isLast);
    operation.posted += length;
    operation.isPosted = isLast;
    this.#chunksUnderWay++;
    this.#bytesUnderWay += length;
    return true;
  }

  // The immediate uses a receive of the peer.
  #spendCredit(): boolean {
    const { credits } = this.#options;
    if (credits.available === 0) return false;
    credits.spend();
    return true;
  }

  #post(operation: Operation, length: number, isLast: boolean): void {
    const { qp, workQueue } = this.#options;
    const { opcode, region, rkey } = operation;
    const { group } = qp.device;
    const wrId = workQueue.push(operation.slot + 1, true);
    const mrIndex = region === undefined ? 0 : region.index;
    const local = operation.localOffset + operation.posted;
    const remote = operation.remoteOffset + operation.posted;
    if (opcode === PostOpcode.fetchAdd || opcode === PostOpcode.compareSwap) {
      const { compareAdd, swap } = operation;
      group.postAtomic(
        qp.index,
        opcode,
        PostFlag.signaled,
        wrId,
        mrIndex,
        local,
        remote,
        rkey,
        compareAdd,
        swap,
      );
      return;
    }
    const plain = isLast || opcode === PostOpcode.read ? opcode : PostOpcode.write;
    const inline = opcode !== PostOpcode.read && length <= qp.maxInline ? PostFlag.inline : 0;
    group.postRemote(
      qp.index,
      plain,
      PostFlag.signaled | inline,
      wrId,
      mrIndex,
      local,
      length,
      operation.imm,
      remote,
      rkey,
    );
  }
}
