// Which requests a server takes: so many pending over all its connections, and who is told to come
// back later, when and why.
import { DrainRate } from './drain-rate.js';

/** Why a request was refused. */
export const requestRefusalReasons = [
  'connectionLimit',
  'queueFull',
  'answersWaiting',
  'memory',
  'shedding',
] as const;
export type RequestRefusalReason = (typeof requestRefusalReasons)[number];

/** While load is shed a connection may have so many times the mean of those that have some. */
const FAIR_FACTOR = 1.5;

export interface RequestRefusal {
  readonly reason: RequestRefusalReason;
  /** What the client is told. */
  readonly text: string;
  readonly retryAfterMs: number;
}

export interface RequestGateStats {
  /** Requests taken and not answered, and how many there may be. */
  readonly pending: number;
  readonly queueSize: number;
  /** Requests answered, of those that were taken, in the last second. */
  readonly finishedPerSecond: number;
  /** Bytes of those requests, and of large answers that wait to be sent. */
  readonly bytes: number;
  readonly refused: Readonly<Record<RequestRefusalReason, number>>;
}

/** Times are of `performance.now()`. */
export class RequestGate {
  readonly #finished = new DrainRate();
  readonly #refused: Record<RequestRefusalReason, number> = {
    connectionLimit: 0,
    queueFull: 0,
    answersWaiting: 0,
    memory: 0,
    shedding: 0,
  };
  readonly #whose: string;
  #queueSize: number;
  #pending = 0;
  #bytes = 0;
  /** How many bytes there may be before requests are refused; one is always let through. */
  maxBytes = Infinity;
  /** Connections that have requests pending. */
  #busy = 0;
  /** Whether connections with far more than the others are refused more. */
  isShedding = false;

  /** `whose`: whose requests are counted, and the setting of the limit, for those refused. */
  constructor(queueSize: number, whose = 'of all clients are pending (queueSize)') {
    this.#queueSize = queueSize;
    this.#whose = whose;
  }

  get pending(): number {
    return this.#pending;
  }

  get queueSize(): number {
    return this.#queueSize;
  }

  /** Counts for what comes from now on; what is pending stays. */
  set queueSize(value: number) {
    this.#queueSize = value;
  }

  /**
   * Takes a request of a connection that has `own` others, or says why not. `leave` follows for
   * each that is taken.
   */
  enter(own: number, nowMs: number): RequestRefusal | undefined {
    if (this.isShedding && own > (this.#pending / this.#busy) * FAIR_FACTOR) {
      const text = `the server sheds load, and ${own} requests of this connection are in work`;
      return this.refuse('shedding', text, this.#pending, nowMs);
    }
    if (this.#pending >= this.#queueSize) {
      const text = `${this.#pending} requests ${this.#whose}`;
      return this.refuse('queueFull', text, this.#pending, nowMs);
    }
    this.#pending++;
    if (own === 0) this.#busy++;
    return undefined;
  }

  /** A taken request is answered, or its connection is gone, which has `own` left. */
  leave(own: number, nowMs: number): void {
    this.#pending--;
    if (own === 0) this.#busy--;
    this.#finished.note(nowMs);
  }

  /** Why a request of so many bytes is not to be taken, if it is not. */
  refuseForMemory(bytes: number, nowMs: number): RequestRefusal | undefined {
    if (this.#bytes === 0 || this.#bytes + bytes <= this.maxBytes) return undefined;
    const text = `requests and answers hold ${this.#bytes} bytes (requestMemoryBytes)`;
    return this.refuse('memory', text, this.#pending, nowMs);
  }

  /** Bytes of requests or answers are there from now on, or (negative) no longer. */
  hold(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Refuses a request of a connection that has `own` already, which is all it may have. */
  refuseExcess(own: number, nowMs: number): RequestRefusal {
    const text = `${own} requests of this connection are in work (maxRequestsPerConnection)`;
    return this.refuse('connectionLimit', text, this.#pending, nowMs);
  }

  stats(nowMs: number): RequestGateStats {
    return {
      pending: this.#pending,
      queueSize: this.#queueSize,
      finishedPerSecond: this.#finished.perSecond(nowMs),
      bytes: this.#bytes,
      refused: { ...this.#refused },
    };
  }

  /** `ahead`: what must be done before there is room for whoever comes back. */
  protected refuse(
    reason: RequestRefusalReason,
    text: string,
    ahead: number,
    nowMs: number,
  ): RequestRefusal {
    this.#refused[reason]++;
    return { reason, text, retryAfterMs: this.#finished.msUntil(ahead, nowMs) };
  }
}
