// READ, WRITE and atomic operations of one connection: in order, in chunks, never more than the
// send queue holds.
import { PostFlag, PostOpcode } from '../native/addon.js';
import type { Allocation } from '../rdma/allocation.js';
import type { MemoryRegion, QueuePair } from '../rdma/queue-pair.js';
import type { Credits } from './credits.js';
import type { WorkQueue } from './work-queue.js';

/**
 * A long transfer goes in pieces that take about so long: SENDs posted meanwhile do not wait for
 * all of it, and each piece is worth the completion that it costs.
 */
const CHUNK_MS = 0.2;
const SMALLEST_CHUNK_BYTES = 256 * 1024;
const LARGEST_CHUNK_BYTES = 1024 * 1024;
/**
 * Chunks under way; more would only queue in the device, and what others send to it, or it to them,
 * behind them.
 */
const CHUNKS_UNDER_WAY = 2;
/** Chunks that tell how long the next should be. */
const MEASURED_CHUNKS = 4;

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
  /** Local memory: `length` bytes at `localOffset` of a region; its index. */
  mrIndex = 0;
  localOffset = 0;
  /** Whose memory that is: the connection's, or the program's. */
  region: MemoryRegion | undefined;
  allocation: Allocation | undefined;
  /** The program's bytes: what is written, or where it wants what is read. */
  bytes: Uint8Array | undefined;
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

  useRegion(region: MemoryRegion, localOffset: number): void {
    this.region = region;
    this.mrIndex = region.index;
    this.localOffset = localOffset;
  }

  useAllocation(allocation: Allocation, mrIndex: number, localOffset: number): void {
    allocation.uses++;
    this.allocation = allocation;
    this.mrIndex = mrIndex;
    this.localOffset = localOffset;
  }

  reset(): void {
    this.listener = undefined;
    this.region = undefined;
    if (this.allocation !== undefined) this.allocation.uses--;
    this.allocation = undefined;
    this.bytes = undefined;
    this.context = undefined;
    this.resolve = undefined;
    this.reject = undefined;
    this.posted = 0;
    this.retired = 0;
    this.isPosted = false;
  }
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
  /** Lengths of the chunks under way, oldest first. */
  readonly #chunks: number[] = [];
  #bytesUnderWay = 0;
  #chunkBytes = SMALLEST_CHUNK_BYTES;
  /** Bytes of chunks that were done since then, with one under way all the time. */
  #measuredBytes = 0;
  #measuredSinceMs = 0;
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
    // Who was called back may have no more use for it.
    while (this.#free.length > 0 && this.#slotWaiters.length > 0) this.#slotWaiters.shift()?.();
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
    const length = this.#chunks.shift() as number;
    operation.retired += length;
    this.#bytesUnderWay -= length;
    if (length >= SMALLEST_CHUNK_BYTES) this.#adaptTo(length);
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
    if (this.#chunks.length === this.#options.depth) return false;
    if (this.#bytesUnderWay >= CHUNKS_UNDER_WAY * this.#chunkBytes) return false;
    // The peer is told the length of the last piece: that must not depend on how fast others went.
    const isTold = operation.opcode === PostOpcode.writeWithImm;
    const chunkBytes = isTold ? SMALLEST_CHUNK_BYTES : this.#chunkBytes;
    const length = Math.min(chunkBytes, operation.length - operation.posted);
    const isLast = operation.posted + length === operation.length;
    if (isLast && operation.opcode === PostOpcode.writeWithImm && !this.#spendCredit())
      return false;
    this.#post(operation, length, isLast);
    operation.posted += length;
    operation.isPosted = isLast;
    if (length >= SMALLEST_CHUNK_BYTES && this.#bytesUnderWay < SMALLEST_CHUNK_BYTES) {
      this.#measuredBytes = 0;
      this.#measuredSinceMs = performance.now();
    }
    this.#chunks.push(length);
    this.#bytesUnderWay += length;
    return true;
  }

  /** Chunks as large as what went lately in their time. */
  #adaptTo(length: number): void {
    this.#measuredBytes += length;
    if (this.#measuredBytes < MEASURED_CHUNKS * this.#chunkBytes) return;
    const now = performance.now();
    const fitting = (this.#measuredBytes / (now - this.#measuredSinceMs)) * CHUNK_MS;
    if (fitting >= 2 * this.#chunkBytes) this.#chunkBytes *= 2;
    else if (fitting < this.#chunkBytes / 2) this.#chunkBytes /= 2;
    const atMost = Math.min(this.#chunkBytes, LARGEST_CHUNK_BYTES);
    this.#chunkBytes = Math.max(atMost, SMALLEST_CHUNK_BYTES);
    this.#measuredBytes = 0;
    this.#measuredSinceMs = now;
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
    const { opcode, mrIndex, rkey } = operation;
    const { group } = qp.device;
    const wrId = workQueue.push(operation.slot + 1, true);
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
