// The requests of one client connection: ids with generations, promises, deadlines; no object per
// request.
import type { VerbenaError } from '../errors.js';

/** Facts about one request; it is forgotten when nothing keeps it any more. */
const USED = 1;
/** Not sent yet. */
const QUEUED = 2;
/** The promise is settled. */
const SETTLED = 4;
/** Its payload is offered to the peer. */
const OFFERED = 8;
/** The peer has answered. */
const ANSWERED = 16;
/** The answer is being pulled. */
const PULLING = 32;

const INDEX_BITS = 16;
const INDEX_MASK = 2 ** INDEX_BITS - 1;
const FIRST_CAPACITY = 16;
export const MAX_REQUESTS = 2 ** INDEX_BITS;

type Resolve = (payload: Uint8Array) => void;
type Reject = (error: VerbenaError) => void;

// `new Promise` calls its executor at once, so one executor for all hands out what it was given.
let resolveOfLast: Resolve;
let rejectOfLast: Reject;
const capture = (resolve: Resolve, reject: Reject): void => {
  resolveOfLast = resolve;
  rejectOfLast = reject;
};

export class RequestTable {
  readonly #maxRequests: number;
  #flags = new Uint8Array(FIRST_CAPACITY);
  #generations = new Uint16Array(FIRST_CAPACITY);
  #deadlines = new Float64Array(FIRST_CAPACITY);
  readonly #resolves: (Resolve | undefined)[] = [];
  readonly #rejects: (Reject | undefined)[] = [];
  readonly #free: number[] = [];
  #length = 0;
  #used = 0;
  #unanswered = 0;
  #queued = 0;

  /** Made by the last `add`. */
  promise: Promise<Uint8Array> | undefined;

  constructor(maxRequests: number) {
    this.#maxRequests = Math.min(maxRequests, MAX_REQUESTS);
  }

  get isFull(): boolean {
    return this.#used >= this.#maxRequests;
  }

  /** Requests known, in whatever state. */
  get used(): number {
    return this.#used;
  }

  /** Requests sent and not answered: what the server counts against the client. */
  get unanswered(): number {
    return this.#unanswered;
  }

  get queued(): number {
    return this.#queued;
  }

  /**
   * Enters a request that is not sent yet; `promise` is its promise. The caller checked `isFull`.
   */
  add(deadline: number): number {
    const index = this.#free.pop() ?? this.#extend();
    this.#flags[index] = USED | QUEUED;
    this.#deadlines[index] = deadline;
    this.promise = new Promise(capture);
    this.#resolves[index] = resolveOfLast;
    this.#rejects[index] = rejectOfLast;
    this.#used++;
    this.#queued++;
    return (((this.#generations[index] as number) << INDEX_BITS) | index) >>> 0;
  }

  /** True while the request is waiting to be sent. */
  isQueued(id: number): boolean {
    return (this.#flagsOf(id) & QUEUED) !== 0;
  }

  /** True for a request that was sent and has no answer yet. */
  isAwaited(id: number): boolean {
    return (this.#flagsOf(id) & (USED | QUEUED | ANSWERED)) === USED;
  }

  markSent(id: number): void {
    this.#clear(id, QUEUED);
    this.#queued--;
    this.#unanswered++;
  }

  setOffered(id: number, offered: boolean): void {
    if (offered) this.#set(id, OFFERED);
    else this.#clear(id, OFFERED);
    this.#forgetIfDone(id);
  }

  /** The answer is here. `pulling`: its payload is still to be read. */
  markAnswered(id: number, pulling: boolean): void {
    this.#unanswered--;
    this.#set(id, pulling ? ANSWERED | PULLING : ANSWERED);
    this.#forgetIfDone(id);
  }

  markPulled(id: number): void {
    this.#clear(id, PULLING);
    this.#forgetIfDone(id);
  }

  resolve(id: number, payload: Uint8Array): void {
    const index = id & INDEX_MASK;
    const resolve = this.#resolves[index];
    if (this.#settle(id)) resolve?.(payload);
    this.#forgetIfDone(id);
  }

  reject(id: number, error: VerbenaError): void {
    const index = id & INDEX_MASK;
    const reject = this.#rejects[index];
    if (this.#settle(id)) reject?.(error);
    this.#forgetIfDone(id);
  }

  /**
   * Calls `onDue` for each unsettled request whose deadline passed; returns the earliest deadline
   * left.
   */
  expire(now: number, onDue: (id: number) => void): number {
    let next = Infinity;
    for (let index = 0; index < this.#length; index++) {
      if (((this.#flags[index] as number) & (USED | SETTLED)) !== USED) continue;
      const deadline = this.#deadlines[index] as number;
      if (deadline <= now) onDue(this.#idAt(index));
      else if (deadline < next) next = deadline;
    }
    return next;
  }

  /** Rejects every unsettled request. */
  rejectAll(error: VerbenaError): void {
    for (let index = 0; index < this.#length; index++) {
      if (((this.#flags[index] as number) & (USED | SETTLED)) === USED) {
        this.reject(this.#idAt(index), error);
      }
    }
  }

  #settle(id: number): boolean {
    if ((this.#flagsOf(id) & (USED | SETTLED)) !== USED) return false;
    this.#set(id, SETTLED);
    const index = id & INDEX_MASK;
    this.#resolves[index] = undefined;
    this.#rejects[index] = undefined;
    return true;
  }

  #forgetIfDone(id: number): void {
    const flags = this.#flagsOf(id);
    if ((flags & (USED | SETTLED)) !== (USED | SETTLED)) return;
    const neverSent = (flags & QUEUED) !== 0;
    if (!neverSent && (flags & (ANSWERED | OFFERED | PULLING)) !== ANSWERED) return;
    const index = id & INDEX_MASK;
    this.#flags[index] = 0;
    this.#generations[index] = (this.#generations[index] as number) + 1;
    this.#free.push(index);
    this.#used--;
    if (neverSent) this.#queued--;
  }

  /** 0 for an id that is not, or no longer, in the table. */
  #flagsOf(id: number): number {
    const index = id & INDEX_MASK;
    if (index >= this.#length || this.#generations[index] !== id >>> INDEX_BITS) return 0;
    return this.#flags[index] as number;
  }

  #set(id: number, flags: number): void {
    const index = id & INDEX_MASK;
    this.#flags[index] = (this.#flags[index] as number) | flags;
  }

  #clear(id: number, flags: number): void {
    const index = id & INDEX_MASK;
    this.#flags[index] = (this.#flags[index] as number) & ~flags;
  }

  #idAt(index: number): number {
    return (((this.#generations[index] as number) << INDEX_BITS) | index) >>> 0;
  }

  #extend(): number {
    if (this.#length === this.#flags.length) {
      this.#flags = doubled(this.#flags, Uint8Array);
      this.#generations = doubled(this.#generations, Uint16Array);
      this.#deadlines = doubled(this.#deadlines, Float64Array);
    }
    this.#resolves.push(undefined);
    this.#rejects.push(undefined);
    return this.#length++;
  }
}

function doubled<T extends { readonly length: number; set(source: T): void }>(
  array: T,
  make: new (length: number) => T,
): T {
  const larger = new make(array.length * 2);
  larger.set(array);
  return larger;
}
