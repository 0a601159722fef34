// Queue pairs of the soft device connected to each other, for tests of the native layer.
import {
  Access,
  COMPLETION_WORDS,
  CompletionWord,
  POST_WORDS,
  PostFlag,
  PostHeader,
  PostOpcode,
  PostWord,
  type NativeAddon,
  type NativeCompletionQueue,
  type NativeDevice,
  type NativeMemoryRegion,
  type NativePollGroup,
  type NativePollGroupOptions,
  type NativeProtectionDomain,
  type NativeQueuePair,
} from '../../src/native/addon.js';
import { loadAddon, softLibraryPath } from '../../src/native/load.js';

export interface Completion {
  readonly qpIndex: number;
  readonly wrId: number;
  readonly status: number;
  readonly opcode: number;
  readonly byteLen: number;
  readonly imm: number;
  readonly flags: number;
  readonly vendorError: number;
}

export interface Post {
  readonly qpIndex: number;
  readonly opcode: keyof typeof PostOpcode;
  readonly wrId?: number;
  readonly flags?: number;
  readonly mrIndex?: number;
  readonly localOffset?: number;
  readonly length?: number;
  readonly imm?: number;
  readonly remoteAddress?: number;
  readonly rkey?: number;
  readonly compareAdd?: bigint;
  readonly swap?: bigint;
}

export const ALL_ACCESS =
  Access.localWrite | Access.remoteWrite | Access.remoteRead | Access.remoteAtomic;

export function openSoftDevice(addon: NativeAddon = loadAddon()): NativeDevice {
  return addon.openLibrary(softLibraryPath()).openDevice('soft0');
}

/** Writes one descriptor; the ring must have room. */
export function writePost(posts: Uint32Array, post: Post): void {
  const count = posts[PostHeader.count] ?? 0;
  const base = (count + 1) * POST_WORDS;
  const words = new Uint32Array(POST_WORDS);
  const wide = (low: number, value: bigint): void => {
    words[low] = Number(value & 0xffff_ffffn);
    words[low + 1] = Number(value >> 32n);
  };
  words[PostWord.qpIndex] = post.qpIndex;
  words[PostWord.opcode] = PostOpcode[post.opcode];
  words[PostWord.flags] = post.flags ?? (post.opcode === 'receive' ? 0 : PostFlag.signaled);
  words[PostWord.wrId] = post.wrId ?? 0;
  words[PostWord.mrIndex] = post.mrIndex ?? 0;
  words[PostWord.localOffset] = post.localOffset ?? 0;
  words[PostWord.length] = post.length ?? 0;
  words[PostWord.imm] = post.imm ?? 0;
  wide(PostWord.remoteAddressLow, BigInt(post.remoteAddress ?? 0));
  words[PostWord.rkey] = post.rkey ?? 0;
  wide(PostWord.compareAddLow, post.compareAdd ?? 0n);
  wide(PostWord.swapLow, post.swap ?? 0n);
  posts.set(words, base);
  posts[PostHeader.count] = count + 1;
}

export function readCompletion(records: Uint32Array, position: number): Completion {
  const word = (offset: number): number => records[position * COMPLETION_WORDS + offset] ?? 0;
  return {
    qpIndex: word(CompletionWord.qpIndex),
    wrId: word(CompletionWord.wrId),
    status: word(CompletionWord.status),
    opcode: word(CompletionWord.opcode),
    byteLen: word(CompletionWord.byteLen),
    imm: word(CompletionWord.imm),
    flags: word(CompletionWord.flags),
    vendorError: word(CompletionWord.vendorError),
  };
}

/** A poll group whose completions are awaited in the order they arrive. */
export class TestGroup {
  readonly native: NativePollGroup;
  /** Called for each batch, before its records are handed out. */
  onBatch: (count: number) => void = () => undefined;
  readonly #arrived: Completion[] = [];
  readonly #waiting: ((completion: Completion) => void)[] = [];

  constructor(device: NativeDevice, options: Omit<NativePollGroupOptions, 'onCompletions'> = {}) {
    this.native = device.createPollGroup({
      ...options,
      onCompletions: (count) => {
        this.#take(count);
      },
    });
  }

  post(post: Post): void {
    writePost(this.native.posts, post);
  }

  next(): Promise<Completion> {
    const arrived = this.#arrived.shift();
    if (arrived !== undefined) return Promise.resolve(arrived);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async take(count: number): Promise<Completion[]> {
    const taken: Completion[] = [];
    while (taken.length < count) taken.push(await this.next());
    return taken;
  }

  /** The records of the batch that `onBatch` was called for. */
  peek(count: number): Completion[] {
    return Array.from({ length: count }, (_, position) =>
      readCompletion(this.native.completions, position),
    );
  }

  /** Completions that arrived and were not taken. */
  get untaken(): readonly Completion[] {
    return this.#arrived;
  }

  #take(count: number): void {
    this.onBatch(count);
    for (let position = 0; position < count; position++) {
      const completion = readCompletion(this.native.completions, position);
      const waiter = this.#waiting.shift();
      if (waiter === undefined) this.#arrived.push(completion);
      else waiter(completion);
    }
  }
}

export interface EndOptions {
  readonly sendDepth?: number;
  readonly receiveDepth?: number;
  readonly maxInline?: number;
  readonly bytes?: number;
}

/** One queue pair with a protection domain, a completion queue and one region of its own. */
export class LoopbackEnd {
  readonly group: TestGroup;
  readonly pd: NativeProtectionDomain;
  readonly cq: NativeCompletionQueue;
  readonly qp: NativeQueuePair;
  readonly mr: NativeMemoryRegion;
  readonly bytes: Uint8Array;

  constructor(device: NativeDevice, group: TestGroup, options: EndOptions = {}) {
    const { sendDepth = 64, receiveDepth = 64, maxInline = 64, bytes = 65_536 } = options;
    this.group = group;
    this.pd = device.allocPd();
    this.cq = group.native.createCq(sendDepth + receiveDepth);
    this.qp = group.native.createQp({
      pd: this.pd,
      cq: this.cq,
      maxSendWr: sendDepth,
      maxRecvWr: receiveDepth,
      maxInline,
    });
    const slab = loadAddon().allocateSlab(bytes);
    this.bytes = new Uint8Array(slab);
    this.mr = this.pd.registerMemory(slab, 0, bytes, ALL_ACCESS);
    this.qp.modify({ state: 'INIT', port: 1, pkeyIndex: 0, access: ALL_ACCESS });
  }

  post(post: Omit<Post, 'qpIndex'>): void {
    this.group.post({ mrIndex: this.mr.index, ...post, qpIndex: this.qp.index });
  }

  connect(gid: string, qpn: number, ownPsn: number, peerPsn: number, rnrRetry = 6): void {
    this.qp.modify({
      state: 'RTR',
      path: { gid, gidIndex: 0, port: 1 },
      mtu: 1024,
      destQpn: qpn,
      rqPsn: peerPsn,
      maxDestRdAtomic: 4,
      minRnrTimer: 1,
    });
    this.qp.modify({
      state: 'RTS',
      sqPsn: ownPsn,
      timeout: 14,
      retryCount: 6,
      rnrRetry,
      maxRdAtomic: 4,
    });
  }

  close(): void {
    this.qp.close();
    this.cq.close();
    this.mr.close();
    this.pd.close();
  }
}

export function connectEnds(
  device: NativeDevice,
  a: LoopbackEnd,
  b: LoopbackEnd,
  rnrRetry?: number,
): void {
  const gid = device.gidTable(1)[0]?.gid ?? '';
  a.connect(gid, b.qp.qpn, 0x11_1111, 0xff_fff0, rnrRetry);
  b.connect(gid, a.qp.qpn, 0xff_fff0, 0x11_1111, rnrRetry);
}
