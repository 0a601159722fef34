// A connection that is made again when it breaks: the same object for its user, each time with a
// new queue pair, new packet sequence numbers and the address that fits then.
import { EventEmitter } from 'node:events';
import type { RequestOptions } from '../connection/requester.js';
import type { TrafficStats } from '../connection/traffic-stats.js';
import { VerbenaError, toVerbenaError } from '../errors.js';
import { closedHere } from '../handshake/control-session.js';
import { throwLater } from '../rdma/poll-group.js';
import type {
  Connection,
  ConnectionEvents,
  ConnectionState,
  ReadOptions,
  WriteOptions,
} from './connection.js';
import type { ResolvedReconnectOptions } from './options.js';
import type { RetryCounts } from './retrier.js';

/** Errors that another attempt would only meet again. */
const hopeless: ReadonlySet<string> = new Set([
  'ERR_VERBENA_INVALID_OPTION',
  'ERR_VERBENA_UNKNOWN_DEVICE',
  'ERR_VERBENA_UNSUPPORTED_VERSION',
]);

/**
 * Milliseconds before attempt `attempt` (1, 2, …): doubled each time up to the maximum, at random
 * between half of that and all of it, so that clients that lost one server do not return at once;
 * never sooner than the server asked for.
 */
export function backoffMs(
  attempt: number,
  { initialDelayMs, maxDelayMs }: Pick<ResolvedReconnectOptions, 'initialDelayMs' | 'maxDelayMs'>,
  retryAfterMs = 0,
  random: () => number = Math.random,
): number {
  const ceiling = Math.min(maxDelayMs, initialDelayMs * 2 ** Math.min(attempt - 1, 30));
  return Math.round(Math.max(retryAfterMs, (ceiling * (1 + random())) / 2));
}

export interface ReconnectingOptions {
  readonly reconnect: ResolvedReconnectOptions;
  /** Makes one connection; `signal` gives the attempt up. */
  readonly connect: (signal: AbortSignal) => Promise<Connection>;
}

export class ReconnectingConnection extends EventEmitter<ConnectionEvents> implements Connection {
  readonly #options: ReconnectingOptions;
  readonly #stop = new AbortController();
  #current: Connection;
  /** Why there is no connection now. */
  #gap: VerbenaError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #attempting: Promise<void> = Promise.resolve();
  #isOver = false;

  constructor(first: Connection, options: ReconnectingOptions) {
    super();
    this.#options = options;
    this.#current = first;
    this.#follow(first);
  }

  get id(): number {
    return this.#current.id;
  }

  get device(): string {
    return this.#current.device;
  }

  get state(): ConnectionState {
    if (this.#isOver) return 'closed';
    return this.#gap === undefined ? this.#current.state : 'reconnecting';
  }

  get isOpen(): boolean {
    return this.state === 'open';
  }

  get regionLength(): number {
    return this.#current.regionLength;
  }

  get maxPayloadBytes(): number {
    return this.#current.maxPayloadBytes;
  }

  get localPsn(): number {
    return this.#current.localPsn;
  }

  get remotePsn(): number {
    return this.#current.remotePsn;
  }

  get qpn(): number {
    return this.#current.qpn;
  }

  get traffic(): Readonly<TrafficStats> {
    return this.#current.traffic;
  }

  get retryCounts(): Readonly<RetryCounts> {
    return this.#current.retryCounts;
  }

  async request(payload: Uint8Array, options?: RequestOptions): Promise<Uint8Array> {
    return this.#connected().request(payload, options);
  }

  async write(offset: number, bytes: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.#connected().write(offset, bytes, options);
  }

  async read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    return this.#connected().read(offset, length, options);
  }

  async fetchAdd(offset: number, delta: bigint): Promise<bigint> {
    return this.#connected().fetchAdd(offset, delta);
  }

  async compareSwap(offset: number, expected: bigint, desired: bigint): Promise<bigint> {
    return this.#connected().compareSwap(offset, expected, desired);
  }

  async close(): Promise<void> {
    const wasInGap = this.#gap !== undefined;
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#attempting;
    await this.#current.close();
    if (wasInGap) this.#end(closedHere());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #connected(): Connection {
    if (this.#gap === undefined || this.#isOver) return this.#current;
    throw new VerbenaError(
      'ERR_VERBENA_RECONNECTING',
      `there is no connection now, the next is being made (${this.#gap.message}); ` +
        "wait for 'reconnect'",
      { cause: this.#gap },
    );
  }

  #follow(connection: Connection): void {
    connection.on('drain', (timeoutMs) => this.emit('drain', timeoutMs));
    connection.once('close', (reason) => this.#onClosed(reason));
  }

  #onClosed(reason: VerbenaError): void {
    if (this.#stop.signal.aborted) this.#end(reason);
    else this.#tryLater(1, reason);
  }

  #tryLater(attempt: number, reason: VerbenaError): void {
    const { reconnect } = this.#options;
    this.#gap = reason;
    if (attempt > reconnect.maxAttempts || hopeless.has(reason.code)) {
      this.#end(reason);
      return;
    }
    const delayMs = backoffMs(attempt, reconnect, reason.retryAfterMs);
    this.#timer = setTimeout(() => {
      this.#attempting = this.#attempt(attempt);
    }, delayMs);
    this.#emitSafely('reconnecting', { attempt, delayMs, reason });
  }

  async #attempt(attempt: number): Promise<void> {
    try {
      this.#current = await this.#options.connect(this.#stop.signal);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      this.#tryLater(attempt + 1, toVerbenaError(error, 'ERR_VERBENA_INTERNAL'));
      return;
    }
    this.#gap = undefined;
    this.#follow(this.#current);
    if (!this.#stop.signal.aborted) this.#emitSafely('reconnect', { attempt });
  }

  #end(reason: VerbenaError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#gap = undefined;
    this.#emitSafely('close', reason);
  }

  #emitSafely<K extends keyof ConnectionEvents>(event: K, ...args: ConnectionEvents[K]): void {
    try {
      (this as EventEmitter).emit(event, ...args);
    } catch (error) {
      throwLater(error);
    }
  }
}
