// The client's operations on its region of the server's memory; no JavaScript runs on the server
// for them.
import { VerbenaError, toVerbenaError } from '../errors.js';
import { PostOpcode } from '../native/addon.js';
import { LOCAL_ACCESS, type MemoryRegion } from '../rdma/queue-pair.js';
import type { Endpoint } from './endpoint.js';
import type { Operation, OperationListener, OperationOpcode } from './operations.js';
import { memoryGoneError } from './rendezvous.js';

const ATOMIC_BYTES = 8;
const MAX_UINT64 = 2n ** 64n;

/** The region as the server granted it. */
export interface RemoteRegion {
  readonly rkey: number;
  /** Bytes; 0 when the session has none. */
  readonly length: number;
}

export interface OneSidedOptions {
  readonly endpoint: Endpoint;
  readonly region: RemoteRegion;
  /** Operations that may wait for their turn. */
  readonly queueSize: number;
}

interface QueuedOperation {
  readonly opcode: OperationOpcode;
  readonly offset: number;
  readonly length: number;
  readonly bytes: Uint8Array | undefined;
  readonly imm: number;
  readonly compareAdd: bigint;
  readonly swap: bigint;
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

// As in the request table: one executor for all promises.
let resolveOfLast: (value: never) => void;
let rejectOfLast: (error: Error) => void;
const capture = (resolve: (value: never) => void, reject: (error: Error) => void): void => {
  resolveOfLast = resolve;
  rejectOfLast = reject;
};

export class OneSided implements OperationListener {
  readonly #endpoint: Endpoint;
  readonly #region: RemoteRegion;
  readonly #queueSize: number;
  #closedBy: VerbenaError | undefined;
  #pending = 0;
  /** Waiting for a free operation. */
  readonly #queue: QueuedOperation[] = [];
  #isWaiting = false;
  #idleWaiters: (() => void)[] = [];

  constructor(options: OneSidedOptions) {
    this.#endpoint = options.endpoint;
    this.#region = options.region;
    this.#queueSize = options.queueSize;
  }

  get pending(): number {
    return this.#pending;
  }

  /** Resolves when the bytes are in the region. */
  write(offset: number, bytes: Uint8Array, immediate: number | undefined): Promise<void> {
    if (!(bytes instanceof Uint8Array)) return refuse(invalid('bytes must be a Uint8Array'));
    const refusal = this.#refusal(offset, bytes.length) ?? checkImmediate(immediate);
    if (refusal !== undefined) return refuse(refusal);
    if (bytes.length === 0 && immediate === undefined) return Promise.resolve();
    const opcode = immediate === undefined ? PostOpcode.write : PostOpcode.writeWithImm;
    this.#endpoint.stats.writes++;
    return this.#start<undefined>(opcode, offset, bytes.length, bytes, immediate ?? 0, 0n, 0n);
  }

  /** Resolves with the bytes: those of `into` that they were read to, or new ones. */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
    const refusal = this.#refusal(offset, length) ?? checkDestination(into, length);
    if (refusal !== undefined) return refuse(refusal);
    if (length === 0) return Promise.resolve(into?.subarray(0, 0) ?? new Uint8Array(0));
    this.#endpoint.stats.reads++;
    return this.#start<Uint8Array>(PostOpcode.read, offset, length, into, 0, 0n, 0n);
  }

  /**
   * Adds modulo 2^64 to the 8 bytes at `offset`, little-endian; resolves with what was there
   * before.
   */
  fetchAdd(offset: number, delta: bigint): Promise<bigint> {
    return this.#atomic(PostOpcode.fetchAdd, offset, delta, 0n);
  }

  /**
   * Writes `desired` if the 8 bytes at `offset` are `expected`; resolves with what was there
   * before.
   */
  compareSwap(offset: number, expected: bigint, desired: bigint): Promise<bigint> {
    return this.#atomic(PostOpcode.compareSwap, offset, expected, desired);
  }

  refuseNew(error: VerbenaError): void {
    this.#closedBy ??= error;
  }

  /** Resolves when no operation is pending. */
  idle(): Promise<void> {
    if (this.#pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Fails everything that is pending, at once. Their memory goes with the queue pair. */
  shutdown(error: VerbenaError): void {
    this.refuseNew(error);
    for (const operation of this.#endpoint.operations.abandon()) {
      const { reject } = operation;
      operation.reset();
      reject?.(error);
    }
    for (const { reject } of this.#queue.splice(0)) reject(error);
    this.#pending = 0;
    this.#wakeIdle();
  }

  onOperationDone(operation: Operation): void {
    const resolve = operation.resolve as ((value: unknown) => void) | undefined;
    const reject = operation.reject;
    try {
      const value = this.#takeResult(operation);
      resolve?.(value);
    } catch (thrown) {
      const error = toVerbenaError(thrown, 'ERR_VERBENA_VERBS');
      reject?.(error);
      // Where the program's own memory is gone, nothing else is wrong.
      if (error.code !== 'ERR_VERBENA_INVALID_OPTION') this.#endpoint.fail(error);
    }
    this.#finishOne();
  }

  #takeResult(operation: Operation): unknown {
    const { localOffset, opcode, region } = operation;
    if (opcode === PostOpcode.read) return this.#takeBytes(operation);
    if (opcode === PostOpcode.fetchAdd || opcode === PostOpcode.compareSwap) {
      return (region as MemoryRegion).slab.view.getBigUint64(localOffset, true);
    }
    this.#giveBack(region);
    return undefined;
  }

  #takeBytes({ region, localOffset, length, bytes }: Operation): Uint8Array {
    const end = localOffset + length;
    if (bytes === undefined) {
      const own = region as MemoryRegion;
      if (this.#endpoint.isScratch(own)) return own.slab.bytes.slice(localOffset, end);
      return this.#endpoint.qp.surrender(own, length);
    }
    const isThere = bytes.length >= length;
    if (region !== undefined && isThere) bytes.set(region.slab.bytes.subarray(localOffset, end));
    this.#giveBack(region);
    if (!isThere) throw memoryGoneError('read');
    return bytes.subarray(0, length);
  }

  /** Memory of one operation alone. */
  #giveBack(region: MemoryRegion | undefined): void {
    if (region === undefined || this.#endpoint.isScratch(region)) return;
    this.#endpoint.qp.release(region);
  }

  #atomic(
    opcode: typeof PostOpcode.fetchAdd | typeof PostOpcode.compareSwap,
    offset: number,
    compareAdd: bigint,
    swap: bigint,
  ): Promise<bigint> {
    if (typeof compareAdd !== 'bigint' || typeof swap !== 'bigint') {
      return refuse(invalid('atomic operands must be of type bigint'));
    }
    if (compareAdd <= -MAX_UINT64 || compareAdd >= MAX_UINT64 || swap < 0n || swap >= MAX_UINT64) {
      return refuse(invalid('atomic operands must fit 64 bits'));
    }
    const refusal = this.#refusal(offset, ATOMIC_BYTES);
    if (refusal !== undefined) return refuse(refusal);
    if (offset % ATOMIC_BYTES !== 0) {
      return refuse(
        new VerbenaError(
          'ERR_VERBENA_MISALIGNED',
          `an atomic operation needs an offset divisible by 8, not ${offset}`,
        ),
      );
    }
    this.#endpoint.stats.atomics++;
    const first = BigInt.asUintN(64, compareAdd);
    return this.#start<bigint>(opcode, offset, ATOMIC_BYTES, undefined, 0, first, swap);
  }

  #refusal(offset: number, length: number): VerbenaError | undefined {
    if (this.#closedBy !== undefined) return this.#closedBy;
    const end = this.#region.length;
    if (end === 0) {
      return new VerbenaError(
        'ERR_VERBENA_NO_REGION',
        'this session has no region; set regionBytes on the server',
      );
    }
    const fits =
      Number.isSafeInteger(offset) &&
      Number.isSafeInteger(length) &&
      offset >= 0 &&
      length >= 0 &&
      offset <= end &&
      length <= end - offset;
    if (!fits) {
      return new VerbenaError(
        'ERR_VERBENA_OUT_OF_BOUNDS',
        `${length} bytes at offset ${offset} are not inside the region of ${end} bytes`,
      );
    }
    if (this.#queue.length < this.#queueSize) return undefined;
    return new VerbenaError(
      'ERR_VERBENA_QUEUE_FULL',
      `${this.#pending} operations are pending already; await some, or raise queueSize`,
    );
  }

  #start<T>(
    opcode: OperationOpcode,
    offset: number,
    length: number,
    bytes: Uint8Array | undefined,
    imm: number,
    compareAdd: bigint,
    swap: bigint,
  ): Promise<T> {
    this.#pending++;
    const promise = new Promise<T>(capture as never);
    const resolve = resolveOfLast;
    const reject = rejectOfLast;
    // Those who wait go first, so that operations run in the order in which they were asked for.
    const operation = this.#queue.length === 0 ? this.#endpoint.operations.take() : undefined;
    if (operation === undefined) {
      this.#queue.push({ opcode, offset, length, bytes, imm, compareAdd, swap, resolve, reject });
      this.#waitForSlot();
    } else {
      operation.resolve = resolve;
      operation.reject = reject;
      this.#begin(operation, opcode, offset, length, bytes, imm, compareAdd, swap);
    }
    return promise;
  }

  #waitForSlot(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#endpoint.operations.whenFree(() => {
      this.#isWaiting = false;
      this.#startQueued();
    });
  }

  #startQueued(): void {
    for (;;) {
      const next = this.#queue[0];
      if (next === undefined) return;
      const operation = this.#endpoint.operations.take();
      if (operation === undefined) {
        this.#waitForSlot();
        return;
      }
      this.#queue.shift();
      operation.resolve = next.resolve;
      operation.reject = next.reject;
      const { opcode, offset, length, bytes, imm, compareAdd, swap } = next;
      this.#begin(operation, opcode, offset, length, bytes, imm, compareAdd, swap);
    }
  }

  #begin(
    operation: Operation,
    opcode: OperationOpcode,
    offset: number,
    length: number,
    bytes: Uint8Array | undefined,
    imm: number,
    compareAdd: bigint,
    swap: bigint,
  ): void {
    operation.opcode = opcode;
    operation.listener = this;
    operation.length = length;
    operation.remoteOffset = offset;
    operation.rkey = this.#region.rkey;
    operation.imm = imm;
    operation.compareAdd = compareAdd;
    operation.swap = swap;
    operation.bytes = bytes;
    const { operations } = this.#endpoint;
    try {
      if (bytes !== undefined && bytes.length < length) throw memoryGoneError('write or read');
      this.#giveMemory(operation, length);
    } catch (error) {
      const { reject } = operation;
      operations.putBack(operation);
      this.#finishOne();
      reject?.(toVerbenaError(error, 'ERR_VERBENA_NO_MEMORY'));
      return;
    }
    if (bytes !== undefined && opcode !== PostOpcode.read) {
      operation.region?.slab.bytes.set(bytes, operation.localOffset);
    }
    operations.submit(operation);
  }

  #finishOne(): void {
    this.#pending--;
    if (this.#pending === 0) this.#wakeIdle();
  }

  #giveMemory(operation: Operation, length: number): void {
    const { qp, slotBytes } = this.#endpoint;
    if (length <= slotBytes) {
      operation.useRegion(this.#endpoint.scratch, operation.slot * slotBytes);
      return;
    }
    const { bytes } = operation;
    const range = bytes === undefined ? undefined : qp.useInPlace(bytes);
    if (range === undefined) operation.useRegion(qp.registerUnzeroed(length, LOCAL_ACCESS), 0);
    else operation.useAllocation(range.allocation, range.index, (bytes as Uint8Array).byteOffset);
  }

  #wakeIdle(): void {
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }
}

function refuse(error: VerbenaError): Promise<never> {
  return Promise.reject(error);
}

function invalid(message: string): VerbenaError {
  return new VerbenaError('ERR_VERBENA_INVALID_OPTION', message);
}

function checkDestination(into: Uint8Array | undefined, length: number): VerbenaError | undefined {
  if (into === undefined || (into instanceof Uint8Array && into.length >= length)) return undefined;
  return invalid(`into must be a Uint8Array of at least the ${length} bytes that are read`);
}

function checkImmediate(immediate: number | undefined): VerbenaError | undefined {
  if (immediate === undefined) return undefined;
  if (Number.isInteger(immediate) && immediate >= 0 && immediate <= 0xffff_ffff) return undefined;
  return invalid(`immediate must be an integer from 0 to 2^32 - 1, not ${immediate}`);
}
