// The surface of the native addon: the one file that declares what crosses N-API.
//
// Objects are created by their parent and closed by `close()`, which is idempotent and closes what
// was made from the object first. Every native failure is an Error with `code`, and, where a system
// call failed, `errno`, `errnoName` and `operation` (the verbs function). Misuse is a TypeError
// with code ERR_VERBENA_ARGUMENT, the use of a closed object ERR_VERBENA_CLOSED.

/** Words (u32) of one completion record; see `CompletionWord`. */
export const COMPLETION_WORDS = 8;
/** Words (u32) of one post descriptor; see `PostWord`. Descriptor 0 is the header: `PostHeader`. */
export const POST_WORDS = 16;

/** Offsets in a completion record. */
export const CompletionWord = {
  /** `NativeQueuePair.index` of the queue pair that completed. */
  qpIndex: 0,
  /** The 32-bit `wrId` of the descriptor. */
  wrId: 1,
  /** `WcStatus`; 0 is success. */
  status: 2,
  /** `WcOpcode`; valid on success only. */
  opcode: 3,
  /** Bytes received (receives and READ). */
  byteLen: 4,
  /** Immediate data in host byte order; valid if `flags` says so. */
  imm: 5,
  /** Bit 0: with immediate. Bit 31: the post itself failed, `vendorError` is its errno. */
  flags: 6,
  /**
   * Of a failed post: EBADF no such queue pair, EFAULT not within a memory region, EMSGSIZE too
   * long for inline, EINVAL a descriptor that makes no sense, ECANCELED an earlier one on the same
   * queue failed, or what the device said (ENOMEM: the queue is full).
   */
  vendorError: 7,
} as const;

export const COMPLETION_WITH_IMM = 1;
export const COMPLETION_POST_FAILED = 0x8000_0000;

/** Offsets in the post ring's first descriptor. */
export const PostHeader = {
  /** Number of descriptors written and not yet drained; native sets it back to 0. */
  count: 0,
  /**
   * Large transfers under way: while the device takes packets for them, the poll group goes on
   * polling although completions are far apart.
   */
  transfers: 1,
} as const;

/** Offsets in a post descriptor. 64-bit values are two words, low word first. */
export const PostWord = {
  qpIndex: 0,
  opcode: 1,
  flags: 2,
  wrId: 3,
  /** `NativeMemoryRegion.index`; ignored when `length` is 0. */
  mrIndex: 4,
  /** Offset from the start of the memory region. Native checks offset + length against it. */
  localOffset: 5,
  length: 6,
  imm: 7,
  remoteAddressLow: 8,
  remoteAddressHigh: 9,
  rkey: 10,
  /** compare-and-swap: value compared. fetch-and-add: value added. */
  compareAddLow: 12,
  compareAddHigh: 13,
  swapLow: 14,
  swapHigh: 15,
} as const;

export const PostOpcode = {
  send: 0,
  sendWithImm: 1,
  write: 2,
  writeWithImm: 3,
  read: 4,
  compareSwap: 5,
  fetchAdd: 6,
  receive: 7,
} as const;

export const PostFlag = { signaled: 1, solicited: 2, inline: 4, fence: 8 } as const;

/** ibv_access_flags. */
export const Access = {
  localWrite: 1,
  remoteWrite: 2,
  remoteRead: 4,
  remoteAtomic: 8,
} as const;

export type QpState = 'RESET' | 'INIT' | 'RTR' | 'RTS' | 'SQD' | 'SQE' | 'ERR';

export interface NativeDeviceName {
  readonly name: string;
  /** 16 hex digits. */
  readonly guid: string;
}

export interface NativeDeviceAttributes {
  readonly firmwareVersion: string;
  readonly vendorId: number;
  readonly vendorPartId: number;
  readonly maxQp: number;
  readonly maxQpWr: number;
  readonly maxSge: number;
  readonly maxCq: number;
  readonly maxCqe: number;
  readonly maxMr: number;
  readonly maxMrBytes: number;
  readonly maxPd: number;
  /** READ and atomic operations outstanding at one queue pair as responder. */
  readonly maxQpRdAtomic: number;
  /** The same as initiator. */
  readonly maxQpInitRdAtomic: number;
  readonly atomics: boolean;
  readonly portCount: number;
}

export interface NativePortAttributes {
  readonly state: 'DOWN' | 'INIT' | 'ARMED' | 'ACTIVE' | 'ACTIVE_DEFER' | 'NOP';
  /** Bytes: 256, 512, 1024, 2048 or 4096. */
  readonly maxMtu: number;
  readonly activeMtu: number;
  readonly lid: number;
  readonly linkLayer: 'InfiniBand' | 'Ethernet' | 'Unspecified';
  readonly gidTableLength: number;
}

export interface NativeGid {
  readonly index: number;
  /** 32 hex digits. */
  readonly gid: string;
  readonly type: 'ib' | 'rocev1' | 'rocev2';
}

export interface NativeAsyncEvent {
  /** `ibv_event_type` without its prefix: 'QP_FATAL', 'DEVICE_FATAL', 'PORT_ERR', … */
  readonly event: string;
  /** Index of the queue pair, for queue-pair events of this environment. */
  readonly qpIndex?: number;
  readonly port?: number;
}

/** Attributes of `ibv_modify_qp`; MTU in bytes, GID in hex. Absent ones are not in the mask. */
export interface NativeQpAttributes {
  readonly state: QpState;
  readonly port?: number;
  readonly pkeyIndex?: number;
  readonly access?: number;
  readonly path?: {
    readonly gid?: string;
    readonly gidIndex?: number;
    readonly hopLimit?: number;
    readonly trafficClass?: number;
    readonly lid?: number;
    readonly serviceLevel?: number;
    readonly port: number;
  };
  readonly mtu?: number;
  readonly destQpn?: number;
  readonly rqPsn?: number;
  readonly maxDestRdAtomic?: number;
  readonly minRnrTimer?: number;
  readonly timeout?: number;
  readonly retryCount?: number;
  readonly rnrRetry?: number;
  readonly sqPsn?: number;
  readonly maxRdAtomic?: number;
}

export interface NativeAddon {
  /**
   * Loads a verbs library (`libibverbs.so.1` or the path of `libverbena-soft.so`) once per process.
   * Throws ERR_VERBENA_LIBRARY when it cannot be loaded or lacks a function.
   */
  openLibrary(path: string): NativeLibrary;
  /**
   * Page-aligned memory, given back when the buffer is collected. A registered region holds its
   * memory. Unless `zeroed` (default), it may have bytes of a buffer that was collected.
   * Throws ERR_VERBENA_NO_MEMORY.
   */
  allocateSlab(bytes: number, zeroed?: boolean): ArrayBuffer;
  /**
   * Makes a slab count for the garbage collector, with a quarter of its bytes, which ignores it
   * until then: to be called when nothing keeps the slab for reuse any more.
   */
  leaveSlabToCollector(buffer: ArrayBuffer): void;
  /**
   * Takes back a slab that was left to the garbage collector, before that finds it: the buffer is
   * detached. False for any other buffer.
   */
  giveBackSlab(buffer: ArrayBufferLike): boolean;
  /** Closes everything this environment still holds, newest first. For exit handlers. */
  closeAll(): void;
  /** Objects open in this environment. */
  liveObjects(): { pd: number; cq: number; qp: number; mr: number; device: number };
  /** Objects open in all environments of the process: in this thread and every other. */
  processObjects(): { pd: number; cq: number; qp: number; mr: number; device: number };
  /** Numbers of the processors that this thread may run on. */
  affinity(): number[];
  /**
   * Leaves this thread, and those that it starts from now on, these processors only. Throws
   * ERR_VERBENA_VERBS with errno EINVAL when the system has none of them.
   */
  setAffinity(processors: readonly number[]): void;
}

export interface NativeLibrary {
  readonly path: string;
  listDevices(): NativeDeviceName[];
  /**
   * The context is opened once per process and shared by all threads. Throws
   * ERR_VERBENA_UNKNOWN_DEVICE with the names there are, or ERR_VERBENA_VERBS with what the library
   * itself had to say.
   */
  openDevice(name: string): NativeDevice;
}

export interface NativeDevice {
  readonly name: string;
  queryDevice(): NativeDeviceAttributes;
  queryPort(port: number): NativePortAttributes;
  gidTable(port: number): NativeGid[];
  /**
   * A copy of the soft device's page of counters (docs/soft-device.md), 4096 bytes; undefined of
   * other devices.
   */
  countersPage(): ArrayBuffer | undefined;
  allocPd(): NativeProtectionDomain;
  createPollGroup(options: NativePollGroupOptions): NativePollGroup;
  /**
   * Called on this thread for each asynchronous event; `undefined` stops. Events wait while there
   * is no handler. Does not keep the loop alive.
   */
  setAsyncEventHandler(handler: ((event: NativeAsyncEvent) => void) | undefined): void;
  /** Throws ERR_VERBENA_IN_USE while protection domains or poll groups are open. */
  close(): void;
}

export interface NativeProtectionDomain {
  /**
   * Registers `length` bytes at `offset` of `buffer`, which must come from `allocateSlab` of this
   * thread. Addresses on the wire are offsets into the buffer (`ibv_reg_mr_iova2`).
   */
  registerMemory(
    buffer: ArrayBufferLike,
    offset: number,
    length: number,
    access: number,
  ): NativeMemoryRegion;
  /** Closes its memory regions. Throws ERR_VERBENA_IN_USE while queue pairs are open. */
  close(): void;
}

export interface NativeMemoryRegion {
  readonly index: number;
  readonly lkey: number;
  readonly rkey: number;
  readonly length: number;
  close(): void;
}

export interface NativePollGroupOptions {
  /** Completion records handed over in one batch, at most. Default 1024. */
  readonly completionCapacity?: number;
  /** Post descriptors between two drains, at most. Default 1024. */
  readonly postCapacity?: number;
  /** Longest spin for completions before sleeping, in µs. Default 100; 0 never spins. */
  readonly spinUs?: number;
  /**
   * Empty polls of one completion queue before it is armed while others are busy. Default 16.
   * Before the loop sleeps all are armed.
   */
  readonly emptyPollsBeforeArm?: number;
  /**
   * Called with the number of records now in `completions`. Posts made inside are drained when it
   * returns. What it throws becomes an 'uncaughtException', and the rest of the batch is lost.
   */
  readonly onCompletions: (count: number) => void;
}

/**
 * One per JavaScript thread: owns the completion channel and polls the completion queues of its
 * queue pairs. Does not keep the loop alive; open, it is never collected.
 */
export interface NativePollGroup {
  /** `completionCapacity` records of COMPLETION_WORDS words, valid inside `onCompletions`. */
  readonly completions: Uint32Array;
  /** One header and `postCapacity` descriptors of POST_WORDS words each. */
  readonly posts: Uint32Array;
  createCq(depth: number): NativeCompletionQueue;
  createQp(options: NativeQueuePairOptions): NativeQueuePair;
  /** Drains the post ring now. Needed only when the ring is full. */
  flush(): void;
  stats(): NativePollGroupStats;
  close(): void;
}

export interface NativePollGroupStats {
  readonly polls: number;
  readonly completions: number;
  readonly batches: number;
  readonly wakeups: number;
  readonly spins: number;
  readonly spinHits: number;
  /** Time spent in spins: the thread waited, although it looked busy. */
  readonly spinNs: number;
  readonly posts: number;
  readonly postBatches: number;
  readonly postFailures: number;
  readonly hotCqs: number;
  readonly armedCqs: number;
}

export interface NativeCompletionQueue {
  /** Entries granted, at least as many as asked for. */
  readonly depth: number;
  /** Throws ERR_VERBENA_IN_USE while queue pairs are open. */
  close(): void;
}

export interface NativeQueuePairOptions {
  readonly pd: NativeProtectionDomain;
  readonly cq: NativeCompletionQueue;
  readonly maxSendWr: number;
  readonly maxRecvWr: number;
  /** Bytes wanted inline; what was granted is `maxInline`. */
  readonly maxInline: number;
}

export interface NativeQueuePair {
  /** Slot and generation: never the same for two queue pairs that lived close together. */
  readonly index: number;
  readonly qpn: number;
  readonly maxInline: number;
  /**
   * Checks the transition against the table, then calls ibv_modify_qp. Throws
   * ERR_VERBENA_QP_TRANSITION with `missing` and `illegal` (attribute names), or ERR_VERBENA_VERBS.
   */
  modify(attributes: NativeQpAttributes): void;
  /** The state the device reports. */
  queryState(): QpState;
  close(): void;
}
