// One poll group per JavaScript thread: hands completion records to their queue pairs and writes
// post descriptors.
import { performance } from 'node:perf_hooks';
import {
  COMPLETION_WORDS,
  CompletionWord,
  POST_WORDS,
  PostHeader,
  PostWord,
  type NativeCompletionQueue,
  type NativeDevice,
  type NativePollGroup,
  type NativePollGroupStats,
  type NativeQueuePair,
  type NativeQueuePairOptions,
} from '../native/addon.js';
import { FlushWatch } from './flush-watch.js';

/**
 * What receives the completions of one queue pair. Numbers only: nothing is allocated per
 * completion.
 */
export interface CompletionSink {
  onCompletion(
    wrId: number,
    status: number,
    opcode: number,
    byteLength: number,
    imm: number,
    flags: number,
    vendorError: number,
  ): void;
  /**
   * An asynchronous event of the queue pair or the whole device, such as `QP_FATAL` or
   * `DEVICE_FATAL`.
   */
  onDeviceEvent(event: string): void;
}

/** Work that is gathered during a tick and done once at its end. */
export interface TickTask {
  /** Set by the poll group while the task waits for the end of the tick. */
  scheduled: boolean;
  runTick(): void;
}

export interface PollGroupOptions {
  /** Longest spin for completions before sleeping, in µs; see `NativePollGroupOptions`. */
  readonly spinUs?: number | undefined;
  /** Polls in vain before a completion queue is armed though the event loop goes on. */
  readonly emptyPollsBeforeArm?: number | undefined;
}

const TWO_TO_32 = 2 ** 32;
const resolved = Promise.resolve();

export class PollGroup {
  readonly #native: NativePollGroup;
  readonly #completions: Uint32Array;
  readonly #posts: Uint32Array;
  readonly #postCapacity: number;
  readonly #sinks = new Map<number, CompletionSink>();
  readonly #capacity: number;
  #fullBatches = 0;
  /** The deadlines of queue pairs that end. */
  readonly flushes = new FlushWatch(() => this.#fullBatches);
  #tasks: TickTask[] = [];
  #spareTasks: TickTask[] = [];
  #tickPending = false;
  #active = 1;
  #deliveredMs = 0;
  #resumptions: (() => void)[] = [];

  constructor(device: NativeDevice, options: PollGroupOptions = {}) {
    const { spinUs, emptyPollsBeforeArm } = options;
    this.#native = device.createPollGroup({
      ...(spinUs === undefined ? {} : { spinUs }),
      ...(emptyPollsBeforeArm === undefined ? {} : { emptyPollsBeforeArm }),
      onCompletions: (count) => this.#dispatch(count),
    });
    this.#completions = this.#native.completions;
    this.#capacity = this.#completions.length / COMPLETION_WORDS;
    this.#posts = this.#native.posts;
    this.#postCapacity = this.#posts.length / POST_WORDS - 1;
  }

  createCq(depth: number): NativeCompletionQueue {
    return this.#native.createCq(depth);
  }

  createQp(options: NativeQueuePairOptions): NativeQueuePair {
    return this.#native.createQp(options);
  }

  attach(qpIndex: number, sink: CompletionSink): void {
    this.#sinks.set(qpIndex, sink);
  }

  detach(qpIndex: number): void {
    this.#sinks.delete(qpIndex);
  }

  /** Passes an asynchronous event to the queue pair it names, or to all when it names none. */
  dispatchEvent(event: string, qpIndex: number | undefined): void {
    if (qpIndex !== undefined) {
      this.#sinks.get(qpIndex)?.onDeviceEvent(event);
      return;
    }
    for (const sink of [...this.#sinks.values()]) sink.onDeviceEvent(event);
  }

  stats(): NativePollGroupStats {
    return this.#native.stats();
  }

  /** About how many users have something to do in each tick. */
  get active(): number {
    return this.#active;
  }

  /** When the newest completions were delivered, of `performance.now()`. */
  get deliveredMs(): number {
    return this.#deliveredMs;
  }

  /** Calls back in the next turn of the event loop, so that others have theirs before. */
  resumeLater(callback: () => void): void {
    if (this.#resumptions.push(callback) === 1) setImmediate(this.#resume);
  }

  readonly #resume = (): void => {
    for (const callback of this.#resumptions.splice(0)) {
      try {
        callback();
      } catch (error) {
        throwLater(error);
      }
    }
  };

  /** Large transfers under way, of all users. */
  get transfers(): number {
    return this.#posts[PostHeader.transfers] as number;
  }

  /** So many more large transfers are under way than before. */
  countTransfers(change: number): void {
    (this.#posts[PostHeader.transfers] as number) += change;
  }

  /** Drains the post ring now. */
  flush(): void {
    this.#native.flush();
  }

  close(): void {
    this.#native.close();
  }

  /**
   * Runs the task when everything that is happening now, promise reactions included, has happened.
   * A completion batch or an event handler thus makes one SEND of many messages.
   */
  schedule(task: TickTask): void {
    if (task.scheduled) return;
    task.scheduled = true;
    this.#tasks.push(task);
    if (this.#tickPending) return;
    this.#tickPending = true;
    // Not nextTick at once: that would run before the reactions of the promises this batch
    // resolved.
    void resolved.then(this.#deferTick);
  }

  readonly #deferTick = (): void => {
    process.nextTick(this.#runTick);
  };

  readonly #runTick = (): void => {
    this.#tickPending = false;
    const tasks = this.#tasks;
    this.#tasks = this.#spareTasks;
    // Who had nothing to do this once may be back soon.
    this.#active = Math.max(tasks.length, this.#active - 1);
    for (const task of tasks) {
      task.scheduled = false;
      try {
        task.runTick();
      } catch (error) {
        throwLater(error);
      }
    }
    tasks.length = 0;
    this.#spareTasks = tasks;
  };

  #dispatch(count: number): void {
    const records = this.#completions;
    this.#deliveredMs = performance.now();
    if (count === this.#capacity) this.#fullBatches++;
    for (let record = 0; record < count; record++) {
      const base = record * COMPLETION_WORDS;
      const sink = this.#sinks.get(records[base + CompletionWord.qpIndex] as number);
      if (sink === undefined) continue;
      try {
        sink.onCompletion(
          records[base + CompletionWord.wrId] as number,
          records[base + CompletionWord.status] as number,
          records[base + CompletionWord.opcode] as number,
          records[base + CompletionWord.byteLen] as number,
          records[base + CompletionWord.imm] as number,
          records[base + CompletionWord.flags] as number,
          records[base + CompletionWord.vendorError] as number,
        );
      } catch (error) {
        throwLater(error);
      }
    }
  }

  // Claims the next descriptor, zeroed, and returns the index of its first word.
  #claim(qpIndex: number, opcode: number, flags: number, wrId: number): number {
    const posts = this.#posts;
    let count = posts[PostHeader.count] as number;
    if (count === this.#postCapacity) {
      this.#native.flush();
      count = 0;
    }
    posts[PostHeader.count] = count + 1;
    const base = (count + 1) * POST_WORDS;
    posts.fill(0, base, base + POST_WORDS);
    posts[base + PostWord.qpIndex] = qpIndex;
    posts[base + PostWord.opcode] = opcode;
    posts[base + PostWord.flags] = flags;
    posts[base + PostWord.wrId] = wrId;
    return base;
  }

  /** SEND or RECEIVE of one local range. */
  post(
    qpIndex: number,
    opcode: number,
    flags: number,
    wrId: number,
    mrIndex: number,
    localOffset: number,
    length: number,
  ): void {
    const base = this.#claim(qpIndex, opcode, flags, wrId);
    this.#setLocal(base, mrIndex, localOffset, length);
  }

  /** READ, WRITE, WRITE with immediate. */
  postRemote(
    qpIndex: number,
    opcode: number,
    flags: number,
    wrId: number,
    mrIndex: number,
    localOffset: number,
    length: number,
    imm: number,
    remoteOffset: number,
    rkey: number,
  ): void {
    const base = this.#claim(qpIndex, opcode, flags, wrId);
    this.#setLocal(base, mrIndex, localOffset, length);
    this.#posts[base + PostWord.imm] = imm;
    this.#setRemote(base, remoteOffset, rkey);
  }

  /** FETCH-AND-ADD or COMPARE-AND-SWAP on 8 bytes; the old value lands in the local range. */
  postAtomic(
    qpIndex: number,
    opcode: number,
    flags: number,
    wrId: number,
    mrIndex: number,
    localOffset: number,
    remoteOffset: number,
    rkey: number,
    compareAdd: bigint,
    swap: bigint,
  ): void {
    const base = this.#claim(qpIndex, opcode, flags, wrId);
    this.#setLocal(base, mrIndex, localOffset, 8);
    this.#setRemote(base, remoteOffset, rkey);
    this.#setWide(base + PostWord.compareAddLow, compareAdd);
    this.#setWide(base + PostWord.swapLow, swap);
  }

  #setLocal(base: number, mrIndex: number, localOffset: number, length: number): void {
    const posts = this.#posts;
    posts[base + PostWord.mrIndex] = mrIndex;
    posts[base + PostWord.localOffset] = localOffset;
    posts[base + PostWord.length] = length;
  }

  #setRemote(base: number, remoteOffset: number, rkey: number): void {
    const posts = this.#posts;
    posts[base + PostWord.remoteAddressLow] = remoteOffset % TWO_TO_32;
    posts[base + PostWord.remoteAddressHigh] = Math.floor(remoteOffset / TWO_TO_32);
    posts[base + PostWord.rkey] = rkey;
  }

  #setWide(word: number, value: bigint): void {
    this.#posts[word] = Number(BigInt.asUintN(32, value));
    this.#posts[word + 1] = Number(BigInt.asUintN(32, value >> 32n));
  }
}

/** Lets an exception surface as an uncaught one without taking the rest of a batch with it. */
export function throwLater(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}
