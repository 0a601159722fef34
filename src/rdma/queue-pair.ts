// One queue pair with its protection domain, completion queue and memory regions, from INIT to the
// last flush.
import { VerbenaError, messageOf, toVerbenaError } from '../errors.js';
import {
  Access,
  PostFlag,
  PostOpcode,
  type NativeProtectionDomain,
  type NativeQpAttributes,
  type NativeQueuePair,
  type QpState,
} from '../native/addon.js';
import type { GidChoice, PortChoice } from './addressing.js';
import { allocationOf, type Allocation } from './allocation.js';
import type { Slab } from './buffer-pool.js';
import type { Device } from './device.js';
import type { PendingFlush } from './flush-watch.js';
import type { CompletionSink } from './poll-group.js';
import type { ResourceHandle } from './registry.js';

/** Work-request identifiers of the beacons that mark the end of a flush. */
const BEACON_SEND = 0xffff_fffe;
const BEACON_RECEIVE = 0xffff_ffff;

const HOP_LIMIT = 64;
/** RNR NAK asks for 5.12 ms; credits make it an exception. */
const MIN_RNR_TIMER = 18;
/**
 * 4.096 µs × 2^16 = 268 ms: patient enough for a loaded machine, since a dead peer is seen through
 * TLS first.
 */
const ACK_TIMEOUT = 16;
/** 7 would mean for ever on soft-RoCE. */
const RETRY_COUNT = 6;
const RNR_RETRY = 6;

/** What the other side told about its queue pair. */
export interface RemoteEndpoint {
  readonly qpn: number;
  readonly psn: number;
  readonly gid: string;
  readonly lid: number;
}

export interface QueuePairOptions {
  /** Names the owner in the registry; unique among live queue pairs. */
  readonly owner: string;
  readonly sendDepth: number;
  readonly receiveDepth: number;
  readonly maxInline: number;
  /** Remote rights (`Access`) that the peer may be granted on this queue pair. */
  readonly access: number;
  readonly port: PortChoice;
}

export interface ConnectOptions {
  readonly remote: RemoteEndpoint;
  readonly localPsn: number;
  readonly gid: GidChoice;
  readonly mtu: number;
  /** READ and atomic operations outstanding as initiator and as responder. */
  readonly maxRdAtomic: number;
  readonly maxDestRdAtomic: number;
}

/** Memory as one queue pair has it registered. */
export interface RegisteredRange {
  readonly index: number;
  readonly rkey: number;
  readonly handle: ResourceHandle;
}

/** Memory of the program, registered for the peer to read. */
export interface OfferedRange extends RegisteredRange {
  readonly allocation: Allocation;
  /** Where the peer's READ of it starts. */
  readonly offset: number;
}

/** Memory of the program, registered for this side's own transfers. */
export interface LocalRange {
  readonly index: number;
  readonly allocation: Allocation;
}

/** Registered memory of the device's pool. */
export interface MemoryRegion extends RegisteredRange {
  readonly slab: Slab;
  /** Bytes registered, from the start of the slab. */
  readonly length: number;
}

export class QueuePair implements CompletionSink {
  readonly owner: string;
  readonly #device: Device;
  /** Receives the completions; set before anything is posted. */
  user: CompletionSink | undefined;
  readonly #port: PortChoice;
  readonly #pd: NativeProtectionDomain;
  readonly #native: NativeQueuePair;
  readonly #regions = new Set<MemoryRegion>();
  readonly #exposed = new Set<MemoryRegion>();
  /** Of the program, registered here. */
  readonly #allocations = new Map<Allocation, LocalRange>();
  readonly #offered = new Set<OfferedRange>();
  #used = false;
  #beacons = 0;
  #pendingFlush: PendingFlush | undefined;
  #closing: Promise<unknown[]> | undefined;

  /**
   * Creates PD, CQ and QP and moves it to INIT. When a step fails, the steps before it are undone.
   */
  constructor(device: Device, options: QueuePairOptions) {
    this.owner = options.owner;
    this.#device = device;
    this.#port = options.port;
    const { registry, group, native } = device;
    const { owner } = options;
    try {
      const pd = native.allocPd();
      registry.add('pd', owner, 0, pd);
      // Room for both queues and the beacons: the completion queue cannot overrun.
      const sendDepth = options.sendDepth + 1;
      const receiveDepth = options.receiveDepth + 1;
      const cq = group.createCq(sendDepth + receiveDepth);
      registry.add('cq', owner, 0, cq);
      const qp = group.createQp({
        pd,
        cq,
        maxSendWr: sendDepth,
        maxRecvWr: receiveDepth,
        maxInline: options.maxInline,
      });
      registry.add('qp', owner, 0, qp);
      this.#pd = pd;
      this.#native = qp;
      this.#modify({
        state: 'INIT',
        port: options.port.port,
        pkeyIndex: 0,
        access: options.access,
      });
    } catch (error) {
      registry.closeOwner(owner);
      throw error;
    }
    group.attach(this.#native.index, this);
  }

  get index(): number {
    return this.#native.index;
  }

  get qpn(): number {
    return this.#native.qpn;
  }

  /** Bytes that may be sent inline, as the device granted. */
  get maxInline(): number {
    return this.#native.maxInline;
  }

  get device(): Device {
    return this.#device;
  }

  /** Registers zeroed memory from the pool. */
  register(length: number, access: number): MemoryRegion {
    return this.#register(this.#device.pool.acquire(length), length, access);
  }

  /** The same with another's bytes in it, perhaps: for who writes all that anybody may read. */
  registerUnzeroed(length: number, access: number): MemoryRegion {
    return this.#register(this.#device.pool.acquireUnzeroed(length), length, access);
  }

  #register(slab: Slab, length: number, access: number): MemoryRegion {
    let registered: RegisteredRange;
    try {
      registered = this.#registerRange(slab.buffer, 0, length, access);
    } catch (error) {
      this.#device.pool.release(slab);
      throw error;
    }
    const region = { slab, length, ...registered };
    this.#regions.add(region);
    return region;
  }

  #registerRange(
    buffer: ArrayBufferLike,
    offset: number,
    length: number,
    access: number,
  ): RegisteredRange {
    const mr = this.#pd.registerMemory(buffer, offset, length, access);
    const handle = this.#device.registry.add('mr', this.owner, length, mr);
    return { index: mr.index, rkey: mr.rkey, handle };
  }

  /**
   * Registers the program's bytes where they are, for the peer to read until `withdraw`. Undefined
   * unless they were allocated for that.
   */
  offerInPlace(bytes: Uint8Array): OfferedRange | undefined {
    const allocation = allocationOf(bytes);
    if (allocation === undefined) return undefined;
    const { buffer, byteOffset, length } = bytes;
    const range = this.#registerRange(buffer, byteOffset, length, OFFER_ACCESS);
    allocation.uses++;
    const offered = { ...range, allocation, offset: byteOffset };
    this.#offered.add(offered);
    return offered;
  }

  withdraw(offered: OfferedRange): void {
    if (!this.#offered.delete(offered)) return;
    offered.allocation.uses--;
    this.#device.registry.close(offered.handle);
  }

  /**
   * The program's bytes for transfers in place, and what counts these. Undefined unless they were
   * allocated for that, and when so much cannot be registered.
   */
  useInPlace(bytes: Uint8Array): LocalRange | undefined {
    const allocation = allocationOf(bytes);
    if (allocation === undefined) return undefined;
    try {
      return this.#allocations.get(allocation) ?? this.#registerAll(allocation, bytes.buffer);
    } catch {
      return undefined; // What is transferred may be much less; if not, the copy says why.
    }
  }

  #registerAll(allocation: Allocation, buffer: ArrayBufferLike): LocalRange {
    const { index, handle } = this.#registerRange(buffer, 0, buffer.byteLength, LOCAL_ACCESS);
    const range = { index, allocation };
    this.#allocations.set(allocation, range);
    allocation.deregister.set(this, () => {
      this.#device.registry.close(handle);
      this.#allocations.delete(allocation);
    });
    return range;
  }

  /** Deregisters; the memory goes back to the pool. Idempotent. */
  release(region: MemoryRegion): void {
    if (!this.#regions.has(region)) return;
    this.#device.registry.close(region.handle);
    this.#regions.delete(region);
    this.#device.pool.release(region.slab);
  }

  /** Deregisters and gives the first `length` bytes away: the pool will not see them again. */
  surrender(region: MemoryRegion, length: number): Uint8Array {
    this.#device.registry.close(region.handle);
    this.#regions.delete(region);
    this.#device.pool.surrender(region.slab);
    return region.slab.bytes.subarray(0, length);
  }

  /** The user may keep the memory beyond the queue pair's life: it will not go back to the pool. */
  exposeToUser(region: MemoryRegion): Uint8Array {
    if (this.#regions.delete(region)) {
      this.#exposed.add(region);
      this.#device.pool.surrender(region.slab);
    }
    // What went back to the pool is somebody else's by now.
    return region.slab.bytes.subarray(0, this.#exposed.has(region) ? region.length : 0);
  }

  /** INIT to RTR to RTS. Receives must be posted before, or the peer's first message finds none. */
  connect(options: ConnectOptions): void {
    const { remote } = options;
    const infiniBand = options.gid.family === 'ib';
    this.#modify({
      state: 'RTR',
      path: {
        ...(infiniBand ? {} : { gid: remote.gid, hopLimit: HOP_LIMIT, trafficClass: 0 }),
        ...(infiniBand ? {} : { gidIndex: options.gid.index }),
        lid: remote.lid,
        serviceLevel: 0,
        port: this.#port.port,
      },
      mtu: options.mtu,
      destQpn: remote.qpn,
      rqPsn: remote.psn,
      maxDestRdAtomic: options.maxDestRdAtomic,
      minRnrTimer: MIN_RNR_TIMER,
    });
    this.#modify({
      state: 'RTS',
      sqPsn: options.localPsn,
      timeout: ACK_TIMEOUT,
      retryCount: RETRY_COUNT,
      rnrRetry: RNR_RETRY,
      maxRdAtomic: options.maxRdAtomic,
    });
  }

  /** The state the device reports, or undefined when it cannot be asked. */
  state(): QpState | undefined {
    try {
      return this.#native.queryState();
    } catch {
      return undefined; // Closed or gone: the caller reports a state, it does not act on it.
    }
  }

  /** Notes that work was posted, so that closing waits for its flush. */
  markUsed(): void {
    this.#used = true;
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
    if (wrId === BEACON_SEND || wrId === BEACON_RECEIVE) {
      if (--this.#beacons === 0) this.#pendingFlush?.finish();
      return;
    }
    this.user?.onCompletion(wrId, status, opcode, byteLength, imm, flags, vendorError);
  }

  onDeviceEvent(event: string): void {
    this.user?.onDeviceEvent(event);
  }

  /**
   * Moves to ERR, waits until every work request is flushed, then destroys QP, CQ, MRs and PD and
   * returns the memory. Every step runs even when one fails; resolves with what failed. Idempotent.
   */
  close(): Promise<unknown[]> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<unknown[]> {
    const failures: unknown[] = [];
    // A device that failed flushes nothing.
    const flush = this.#used && !this.#device.hasFailed ? this.#flush() : undefined;
    // From here on no packet is answered, and the program may have its memory back at once.
    this.#withdrawAll(failures);
    try {
      await flush;
    } catch (error) {
      failures.push(error);
    }
    this.#device.group.detach(this.#native.index);
    for (const allocation of this.#allocations.keys()) allocation.deregister.delete(this);
    this.#allocations.clear();
    failures.push(...this.#device.registry.closeOwner(this.owner));
    if (failures.length === 0) {
      for (const region of this.#regions) this.#device.pool.release(region.slab);
    } else {
      // Something may still reach this memory: it is dropped, not used again.
      for (const region of this.#regions) this.#device.pool.surrender(region.slab);
    }
    this.#regions.clear();
    return failures;
  }

  #withdrawAll(failures: unknown[]): void {
    for (const offered of this.#offered) {
      try {
        this.withdraw(offered);
      } catch (error) {
        failures.push(error);
      }
    }
  }

  /** In the error state when it returns, flushed when it resolves. */
  async #flush(): Promise<void> {
    const { group } = this.#device;
    this.#beacons = 2;
    // A receive goes first: soft-RoCE does not notice one that is posted in the error state. A send
    // goes last: before, it would be sent.
    group.post(this.index, PostOpcode.receive, 0, BEACON_RECEIVE, 0, 0, 0);
    group.flush();
    this.#native.modify({ state: 'ERR' });
    group.post(this.index, PostOpcode.send, PostFlag.signaled, BEACON_SEND, 0, 0, 0);
    this.#pendingFlush = group.flushes.begin(this.owner);
    await this.#pendingFlush.finished;
  }

  #modify(attributes: NativeQpAttributes): void {
    try {
      this.#native.modify(attributes);
    } catch (error) {
      const code = toVerbenaError(error, 'ERR_VERBENA_VERBS').code;
      throw new VerbenaError(
        code,
        `queue pair ${this.#native.qpn} could not move to ${attributes.state}: ` +
          `${messageOf(error)}; attributes ${JSON.stringify(attributes)}`,
        { cause: error },
      );
    }
  }
}

/** Rights of a ring that only this side touches: what was validated cannot change under us. */
export const LOCAL_ACCESS = Access.localWrite;
/** Rights of a buffer that is offered to the peer. */
export const OFFER_ACCESS = Access.remoteRead;
/** Rights of a session's region. */
export const REGION_ACCESS =
  Access.localWrite | Access.remoteWrite | Access.remoteRead | Access.remoteAtomic;
