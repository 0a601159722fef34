// A client instance: several connections to one server behind one face, opened when requests need
// them and closed when they have been idle.
import { DeadlineTimer } from '../connection/deadline-timer.js';
import type { RequestOptions } from '../connection/requester.js';
import { VerbenaError, cleanupError, toVerbenaError } from '../errors.js';
import type { Connection } from './connection.js';

export interface ClientInstanceOptions {
  /** Connections open at once, at most. */
  readonly connectionsPerInstance: number;
  /** With so many uses of every connection under way, another connection is opened. */
  readonly requestsPerConnection: number;
  /** A connection without use for so long is closed. */
  readonly idleTimeoutMs: number;
  /** Makes one connection; `signal` gives the attempt up. */
  readonly connect: (signal: AbortSignal) => Promise<Connection>;
}

interface Member {
  readonly connection: Connection;
  /** Uses under way. */
  uses: number;
  /** Of `performance.now()`; when the last use ended. */
  idleSince: number;
}

export class ClientInstance {
  readonly #options: ClientInstanceOptions;
  readonly #members = new Set<Member>();
  readonly #stop = new AbortController();
  readonly #idleTimer = new DeadlineTimer((now) => this.#closeIdle(now));
  readonly #failures: unknown[] = [];
  #opening: Promise<void> | undefined;
  /** After a refusal with `retryAfterMs`, no attempt is made before this. */
  #refusedUntil = 0;
  #changeWaiters: (() => void)[] = [];
  #closed: Promise<void> | undefined;

  constructor(options: ClientInstanceOptions) {
    this.#options = options;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#members.size;
  }

  /** Sends a request on the connection with the least to do; see `Connection.request`. */
  request(payload: Uint8Array, options?: RequestOptions): Promise<Uint8Array> {
    return this.run((connection) => connection.request(payload, options));
  }

  /** Lends `use` the connection with the least to do until its promise settles. */
  async run<T>(use: (connection: Connection) => Promise<T>): Promise<T> {
    const member = await this.#memberForUse();
    member.uses++;
    try {
      return await use(member.connection);
    } finally {
      member.uses--;
      this.#beginIdle(member);
    }
  }

  /**
   * Closes every connection in order, after what is in work. Idempotent; rejects with
   * ERR_VERBENA_CLEANUP.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#stop.abort();
    this.#idleTimer.stop();
    this.#wakeWaiters();
    await this.#opening?.catch(() => undefined);
    await Promise.all([...this.#members].map((member) => this.#closeMember(member)));
    const failure = cleanupError('closing a client instance', this.#failures);
    if (failure !== undefined) throw failure;
  }

  async #memberForUse(): Promise<Member> {
    for (;;) {
      if (this.#stop.signal.aborted) throw closedError('the client instance is closed');
      const member = this.#leastUsed();
      const isBusy = member === undefined || member.uses >= this.#options.requestsPerConnection;
      if (!isBusy) return member;
      const opening = this.#openAnother();
      if (member !== undefined) {
        // What is open serves meanwhile; whether another came is seen by the next request.
        opening?.catch(() => undefined);
        return member;
      }
      await (opening ?? new Promise<void>((resolve) => this.#changeWaiters.push(resolve)));
    }
  }

  #leastUsed(): Member | undefined {
    let best: Member | undefined;
    for (const member of this.#members) {
      if (member.connection.isOpen && (best === undefined || member.uses < best.uses)) {
        best = member;
      }
    }
    return best;
  }

  /** One attempt at a time; undefined when no more connections are allowed now. */
  #openAnother(): Promise<void> | undefined {
    if (this.#opening !== undefined) return this.#opening;
    if (this.#members.size >= this.#options.connectionsPerInstance) return undefined;
    const refused = performance.now() < this.#refusedUntil;
    if (refused && this.#members.size > 0) return undefined;
    this.#opening = this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #open(): Promise<void> {
    let connection: Connection;
    try {
      connection = await this.#options.connect(this.#stop.signal);
    } catch (thrown) {
      const error = toVerbenaError(thrown, 'ERR_VERBENA_INTERNAL');
      this.#refusedUntil = performance.now() + (error.retryAfterMs ?? 0);
      throw error;
    }
    const member: Member = { connection, uses: 0, idleSince: 0 };
    this.#members.add(member);
    this.#beginIdle(member);
    // However it ends, the next request opens another in its place.
    connection.once('close', () => {
      this.#members.delete(member);
      this.#wakeWaiters();
    });
    this.#wakeWaiters();
  }

  #beginIdle(member: Member): void {
    member.idleSince = performance.now();
    if (member.uses > 0 || this.#stop.signal.aborted) return;
    this.#idleTimer.arm(member.idleSince + this.#options.idleTimeoutMs);
  }

  #closeIdle(now: number): number {
    let next = Infinity;
    for (const member of this.#members) {
      if (member.uses > 0 || !member.connection.isOpen) continue;
      const deadline = member.idleSince + this.#options.idleTimeoutMs;
      if (deadline <= now) void this.#closeMember(member);
      else next = Math.min(next, deadline);
    }
    return next;
  }

  async #closeMember({ connection }: Member): Promise<void> {
    try {
      await connection.close();
    } catch (error) {
      this.#failures.push(error);
    }
  }

  #wakeWaiters(): void {
    for (const wake of this.#changeWaiters.splice(0)) wake();
  }
}

export function closedError(what: string): VerbenaError {
  return new VerbenaError('ERR_VERBENA_CLOSED', what);
}
