// A pool of client instances: lends each to one caller at a time, in the order in which they asked.
import { MAX_TIMEOUT_MS, integerOption, numberOption } from '../connection/option-checks.js';
import type { RequestOptions } from '../connection/requester.js';
import { within } from '../connection/within.js';
import { VerbenaError, cleanupError } from '../errors.js';
import { connect } from './connect.js';
import type { Connection } from './connection.js';
import { ClientInstance, closedError, type ClientInstanceOptions } from './instance.js';
import { resolveConnectOptions, type ConnectOptions } from './options.js';

const timeoutRange = { min: 1, max: MAX_TIMEOUT_MS };
const countRange = { min: 1, max: 65_536 };

/** Options of a pool: those of each connection, and how many there are. */
export interface ClientInstancePoolOptions extends Omit<ConnectOptions, 'reconnect' | 'signal'> {
  /** Instances, and so callers that hold one at the same time; default 1. */
  readonly clientInstancesPerPool?: number | undefined;
  /** Connections that each instance opens when it needs them, at most; default 1. */
  readonly connectionsPerInstance?: number | undefined;
  /** Requests under way on every open connection before another is opened; default 16. */
  readonly requestsPerConnection?: number | undefined;
  /** A connection without use for so long is closed; default 60,000. */
  readonly idleTimeoutMs?: number | undefined;
}

export interface AcquireOptions {
  /** Longest wait, then ERR_VERBENA_ACQUIRE_TIMEOUT; default: no limit. */
  readonly timeoutMs?: number | undefined;
  /** Aborting it gives the wait up with ERR_VERBENA_ABORTED. */
  readonly signal?: AbortSignal | undefined;
}

/** A client instance on loan. `using` gives it back at the end of the block. */
export interface PooledClient extends Disposable {
  /** Connections that the instance has open now. */
  readonly connections: number;
  /**
   * Sends a request on the connection with the least to do, after opening one if none is there.
   * Many may be under way. Rejects as `Connection.request` and `connect` do, and with
   * ERR_VERBENA_CLOSED after `release`.
   */
  request(payload: Uint8Array, options?: RequestOptions): Promise<Uint8Array>;
  /**
   * Lends `use` one connection until its promise settles, for operations that belong together: a
   * region is its connection's own.
   */
  run<T>(use: (connection: Connection) => Promise<T>): Promise<T>;
  /** Gives the instance back; what is in work goes on. Idempotent. */
  release(): void;
}

interface Waiter {
  readonly resolve: (client: PooledClient) => void;
  readonly reject: (error: VerbenaError) => void;
  readonly cancel: () => void;
}

/**
 * Lends client instances to callers, one caller each. Throws ERR_VERBENA_INVALID_OPTION that names
 * the wrong option; connects when the first request needs it.
 */
export class ClientInstancePool implements AsyncDisposable {
  /** Instances, lent or not. */
  readonly size: number;
  readonly #instances: readonly ClientInstance[];
  /** Used last, lent first: the others can close what they do not need. */
  readonly #free: ClientInstance[];
  readonly #waiters = new Set<Waiter>();
  readonly #closeTimeoutMs: number;
  #allFree: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: ClientInstancePoolOptions) {
    const { closeTimeoutMs } = resolveConnectOptions(options);
    const count = (name: CountName, fallback: number): number =>
      integerOption(name, options[name], fallback, countRange);
    this.#closeTimeoutMs = closeTimeoutMs;
    this.size = count('clientInstancesPerPool', 1);
    const each: ClientInstanceOptions = {
      connectionsPerInstance: count('connectionsPerInstance', 1),
      requestsPerConnection: count('requestsPerConnection', 16),
      idleTimeoutMs: numberOption('idleTimeoutMs', options.idleTimeoutMs, 60_000, timeoutRange),
      connect: (signal) => connect({ ...options, reconnect: false, signal }),
    };
    this.#instances = Array.from({ length: this.size }, () => new ClientInstance(each));
    this.#free = [...this.#instances];
  }

  /** Instances that nobody holds. */
  get available(): number {
    return this.#free.length;
  }

  /** Callers that wait for an instance. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Connections open now, of all instances. */
  get total(): number {
    return this.#instances.reduce((sum, { connections }) => sum + connections, 0);
  }

  /**
   * Lends an instance: at once, or when all those who asked before have had theirs. Rejects with
   * ERR_VERBENA_ACQUIRE_TIMEOUT, ERR_VERBENA_ABORTED or, once the pool is closed,
   * ERR_VERBENA_CLOSED.
   */
  async acquire({ timeoutMs, signal }: AcquireOptions = {}): Promise<PooledClient> {
    if (timeoutMs !== undefined) numberOption('timeoutMs', timeoutMs, 0, timeoutRange);
    if (this.#closing !== undefined) throw poolClosed();
    if (signal?.aborted === true) throw abortedError(signal);
    const instance = this.#free.pop();
    if (instance !== undefined) return this.#lend(instance);
    return new Promise((resolve, reject) => this.#wait(resolve, reject, timeoutMs, signal));
  }

  /**
   * Refuses those who wait, lets those who hold an instance give it back within `closeTimeoutMs`,
   * then closes every connection in order. Idempotent. Rejects with ERR_VERBENA_CLEANUP when
   * something could not be released.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    for (const waiter of this.#waiters) {
      waiter.cancel();
      waiter.reject(poolClosed());
    }
    if (this.available < this.size) {
      const returned = new Promise<void>((resolve) => (this.#allFree = resolve));
      await within(returned, this.#closeTimeoutMs);
    }
    const ends = await Promise.allSettled(this.#instances.map((instance) => instance.close()));
    const failures = ends.flatMap((end): unknown[] =>
      end.status === 'rejected' ? [end.reason] : [],
    );
    const failure = cleanupError('closing the client instance pool', failures);
    if (failure !== undefined) throw failure;
  }

  #wait(
    resolve: Waiter['resolve'],
    reject: Waiter['reject'],
    timeoutMs: number | undefined,
    signal: AbortSignal | undefined,
  ): void {
    const giveUp = (error: VerbenaError): void => {
      waiter.cancel();
      reject(error);
    };
    const onAbort = (): void => giveUp(abortedError(signal));
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => giveUp(this.#timeoutError(timeoutMs)), timeoutMs);
    const waiter: Waiter = {
      resolve,
      reject,
      cancel: () => {
        this.#waiters.delete(waiter);
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      },
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#waiters.add(waiter);
  }

  #lend(instance: ClientInstance): PooledClient {
    return new Loan(instance, () => this.#takeBack(instance));
  }

  #takeBack(instance: ClientInstance): void {
    const [waiter] = this.#waiters;
    if (waiter !== undefined) {
      waiter.cancel();
      waiter.resolve(this.#lend(instance));
      return;
    }
    this.#free.push(instance);
    if (this.available === this.size) this.#allFree?.();
  }

  #timeoutError(timeoutMs: number): VerbenaError {
    return new VerbenaError(
      'ERR_VERBENA_ACQUIRE_TIMEOUT',
      `none of the pool's ${this.size} client instances was given back within ${timeoutMs} ms; ` +
        'release them sooner, or raise clientInstancesPerPool',
    );
  }
}

type CountName = 'clientInstancesPerPool' | 'connectionsPerInstance' | 'requestsPerConnection';

class Loan implements PooledClient {
  readonly #instance: ClientInstance;
  #giveBack: (() => void) | undefined;

  constructor(instance: ClientInstance, giveBack: () => void) {
    this.#instance = instance;
    this.#giveBack = giveBack;
  }

  get connections(): number {
    return this.#instance.connections;
  }

  async request(payload: Uint8Array, options?: RequestOptions): Promise<Uint8Array> {
    return this.#held().request(payload, options);
  }

  async run<T>(use: (connection: Connection) => Promise<T>): Promise<T> {
    return this.#held().run(use);
  }

  release(): void {
    const giveBack = this.#giveBack;
    this.#giveBack = undefined;
    giveBack?.();
  }

  [Symbol.dispose](): void {
    this.release();
  }

  #held(): ClientInstance {
    if (this.#giveBack !== undefined) return this.#instance;
    throw closedError('the client instance was released; acquire() one again');
  }
}

function poolClosed(): VerbenaError {
  return closedError('the client instance pool is closed');
}

function abortedError(signal: AbortSignal | undefined): VerbenaError {
  return new VerbenaError('ERR_VERBENA_ABORTED', 'the wait for a client instance was aborted', {
    cause: signal?.reason,
  });
}
