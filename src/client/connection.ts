// A client's established connection: requests, one-sided operations, and its end.
import { EventEmitter } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import type { Endpoint, EndpointUser } from '../connection/endpoint.js';
import { MessageType, type MessageHeader } from '../connection/header.js';
import { OneSided, type RemoteRegion } from '../connection/one-sided.js';
import { Requester, type RequestOptions } from '../connection/requester.js';
import type { TrafficStats } from '../connection/traffic-stats.js';
import type { UndoStack } from '../connection/undo-stack.js';
import { within } from '../connection/within.js';
import { VerbenaError, cleanupError } from '../errors.js';
import { throwLater } from '../rdma/poll-group.js';
import type { ControlChannel } from '../handshake/control-channel.js';
import { ControlSession, closedHere, type SessionHooks } from '../handshake/control-session.js';
import type { Hello, Welcome } from '../handshake/messages.js';
import type { ResolvedConnectOptions } from './options.js';
import type { RetryCounts, Retrier } from './retrier.js';

export type ConnectionState = 'open' | 'draining' | 'closing' | 'closed' | 'reconnecting';

export interface ConnectionEvents {
  /**
   * The server is about to stop: work in flight may finish within `timeoutMs`, then the connection
   * closes by itself.
   */
  drain: [timeoutMs: number];
  /**
   * Once, when everything is released. `reason.code`: ERR_VERBENA_CONNECTION_CLOSED (closed here),
   * ERR_VERBENA_PEER_CLOSED (closed by the server), or what broke it.
   */
  close: [reason: VerbenaError];
  /**
   * Only with the option `reconnect`: the connection ended for `reason`, or attempt `attempt` - 1
   * to make it again failed for that; attempt `attempt` follows in `delayMs`.
   */
  reconnecting: [next: { attempt: number; delayMs: number; reason: VerbenaError }];
  /**
   * Connected again, as a new session: new id, queue pair and packet sequence numbers, a region of
   * zeros. What was pending when the last one ended was rejected and is not repeated.
   */
  reconnect: [done: { attempt: number }];
}

export interface WriteOptions {
  /** 32-bit value that raises an 'immediate' event on the server's session. */
  readonly immediate?: number | undefined;
}

export interface ReadOptions {
  /**
   * Where the bytes go, with room for `length` of them. They are read there without a copy if
   * `allocate` made it. After a read that failed its content is undefined.
   */
  readonly into?: Uint8Array | undefined;
}

/** A connection to a server; made by `connect`. */
export interface Connection extends EventEmitter<ConnectionEvents>, AsyncDisposable {
  /** The id that the server gave this client. */
  readonly id: number;
  /** Name of the local device. */
  readonly device: string;
  readonly state: ConnectionState;
  /** True while new requests are taken. */
  readonly isOpen: boolean;
  /** Bytes of this session's region at the server; 0 when it has none. */
  readonly regionLength: number;
  /** Largest request that the server takes, in bytes. */
  readonly maxPayloadBytes: number;
  /** First packet sequence number of each direction, 24 bits. */
  readonly localPsn: number;
  readonly remotePsn: number;
  /** Number of the local queue pair, 24 bits. */
  readonly qpn: number;
  /** What this connection did so far. A request that is tried again counts each time. */
  readonly traffic: Readonly<TrafficStats>;
  /** What was tried again after refusals, with the option `retry`; with `reconnect`, in all. */
  readonly retryCounts: Readonly<RetryCounts>;
  /**
   * Sends a request and resolves with the response. `payload` must not change until then, and is
   * not copied if it is large and `allocate` made it; the response belongs to the caller. Rejects
   * with a VerbenaError. Of these the connection survives:
   * ERR_VERBENA_PAYLOAD_TOO_LARGE, ERR_VERBENA_QUEUE_FULL, ERR_VERBENA_REQUEST_TIMEOUT,
   * ERR_VERBENA_ABORTED, ERR_VERBENA_HANDLER (the handler threw; `status` is set when it chose
   * one), ERR_VERBENA_RESOURCE_EXHAUSTED, ERR_VERBENA_RENDEZVOUS, ERR_VERBENA_NO_MEMORY,
   * ERR_VERBENA_INVALID_OPTION. Any other code says why the connection is gone.
   */
  request(payload: Uint8Array, options?: RequestOptions): Promise<Uint8Array>;
  /**
   * Writes bytes into the region; resolves when they are there. Until then they must not change if
   * they are of `allocate`, as large ones are not copied. Operations run in the order of
   * their calls. Rejects with ERR_VERBENA_OUT_OF_BOUNDS, ERR_VERBENA_NO_REGION,
   * ERR_VERBENA_QUEUE_FULL, ERR_VERBENA_NO_MEMORY or ERR_VERBENA_INVALID_OPTION and the connection
   * stays; any other code says why it is gone.
   */
  write(offset: number, bytes: Uint8Array, options?: WriteOptions): Promise<void>;
  /** Reads bytes of the region; they belong to the caller. Errors as for `write`. */
  read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array>;
  /**
   * Atomically adds `delta`, modulo 2^64, to the little-endian 64-bit number at `offset`, which 8
   * must divide (ERR_VERBENA_MISALIGNED). Resolves with what was there before. Other errors as for
   * `write`.
   */
  fetchAdd(offset: number, delta: bigint): Promise<bigint>;
  /**
   * Atomically replaces the 64-bit number at `offset` by `desired` if it is `expected`; otherwise
   * like `fetchAdd`.
   */
  compareSwap(offset: number, expected: bigint, desired: bigint): Promise<bigint>;
  /**
   * Takes no new work, lets what is in flight finish within `closeTimeoutMs`, closes in order and
   * releases everything. Idempotent. Rejects with ERR_VERBENA_CLEANUP when something could not be
   * released.
   */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What the set-up hands over. */
export interface EstablishedConnection {
  readonly options: ResolvedConnectOptions;
  readonly deviceName: string;
  readonly hello: Hello;
  readonly welcome: Welcome;
  readonly region: RemoteRegion;
  readonly endpoint: Endpoint;
  readonly channel: ControlChannel;
  readonly undo: UndoStack;
}

export class ClientConnection
  extends EventEmitter<ConnectionEvents>
  implements Connection, EndpointUser, SessionHooks
{
  readonly id: number;
  readonly device: string;
  readonly regionLength: number;
  readonly maxPayloadBytes: number;
  readonly localPsn: number;
  readonly remotePsn: number;
  readonly qpn: number;
  readonly #endpoint: Endpoint;
  readonly #requester: Requester;
  readonly #retrier: Retrier | undefined;
  readonly #requestTimeoutMs: number;
  readonly #oneSided: OneSided;
  readonly #control: ControlSession;
  readonly #undo: UndoStack;
  /** How long requests in work may take once the connection closes. */
  #finishTimeoutMs: number;
  readonly #released: Promise<void>;
  #state: ConnectionState = 'open';

  /** `retrier`: tries refused requests again; may outlive this connection. */
  constructor(established: EstablishedConnection, retrier?: Retrier) {
    super();
    const { options, hello, welcome, region, endpoint, undo } = established;
    this.id = welcome.clientId;
    this.device = established.deviceName;
    this.regionLength = region.length;
    this.maxPayloadBytes = welcome.maxPayloadBytes;
    this.localPsn = hello.endpoint.psn;
    this.remotePsn = welcome.endpoint.psn;
    this.qpn = endpoint.qp.qpn;
    this.#endpoint = endpoint;
    this.#undo = undo;
    this.#retrier = retrier;
    this.#requestTimeoutMs = options.requestTimeoutMs;
    this.#finishTimeoutMs = options.closeTimeoutMs;
    this.#requester = new Requester({
      endpoint,
      window: welcome.maxRequests,
      queueSize: options.queueSize,
      timeoutMs: options.requestTimeoutMs,
      isTimed: welcome.timing === true,
      maxPayloadBytes: welcome.maxPayloadBytes,
      maxResponseBytes: options.maxPayloadBytes,
      rendezvousTimeoutMs: options.rendezvousTimeoutMs,
    });
    this.#oneSided = new OneSided({ endpoint, region, queueSize: options.queueSize });
    endpoint.user = this;
    this.#control = new ControlSession(established.channel, this, {
      keepaliveSec: welcome.keepaliveSec,
      closeTimeoutMs: options.closeTimeoutMs,
    });
    this.#released = this.#control.ended.then((reason) => this.#onEnded(reason));
    // Without a caller of close() a failure to release is a warning, not an unhandled rejection.
    this.#released.catch((error: unknown) => process.emitWarning(error as VerbenaError));
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  get traffic(): Readonly<TrafficStats> {
    return { ...this.#endpoint.stats };
  }

  get retryCounts(): Readonly<RetryCounts> {
    return { ...(this.#retrier?.counts ?? { retries: 0, retriesDenied: 0 }) };
  }

  request(payload: Uint8Array, options?: RequestOptions): Promise<Uint8Array> {
    const retrier = this.#retrier;
    if (retrier === undefined) return this.#requester.request(payload, options);
    const deadline = performance.now() + (options?.timeoutMs ?? this.#requestTimeoutMs);
    const attempt = (isFirst: boolean): Promise<Uint8Array> => {
      const timeoutMs = Math.max(1, deadline - performance.now());
      return this.#requester.request(payload, isFirst ? options : { ...options, timeoutMs });
    };
    const mayRetry = (): boolean => this.isOpen;
    return retrier.run(attempt, { deadline, signal: options?.signal, mayRetry });
  }

  write(offset: number, bytes: Uint8Array, options?: WriteOptions): Promise<void> {
    return this.#oneSided.write(offset, bytes, options?.immediate);
  }

  read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array> {
    return this.#oneSided.read(offset, length, options?.into);
  }

  fetchAdd(offset: number, delta: bigint): Promise<bigint> {
    return this.#oneSided.fetchAdd(offset, delta);
  }

  compareSwap(offset: number, expected: bigint, desired: bigint): Promise<bigint> {
    return this.#oneSided.compareSwap(offset, expected, desired);
  }

  async close(): Promise<void> {
    this.#leave('closing', closedHere());
    await this.#control.close('the client closed the connection');
    await this.#released;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // EndpointUser: what arrives through RDMA.

  onMessage(header: MessageHeader, at: number): void {
    switch (header.type) {
      case MessageType.response:
        this.#requester.onResponse(header, at);
        return;
      case MessageType.error:
        this.#requester.onError(header, at);
        return;
      case MessageType.rendezvous:
        this.#requester.onOffer(header, at);
        return;
      case MessageType.rendezvousDone:
        this.#requester.onOfferDone(header);
        return;
      default:
        this.#endpoint.failProtocol(`a server sent a message of type ${header.type}`);
    }
  }

  onImmediate(): void {
    this.#endpoint.failProtocol('a server wrote with immediate');
  }

  onWritable(): void {
    this.#requester.pump();
  }

  onFailure(error: VerbenaError): void {
    this.#leave('closing', error);
    this.#control.queuePairFailed(error);
  }

  // SessionHooks: what the control channel asks for.

  async quiesce(byPeer: boolean): Promise<void> {
    if (byPeer) {
      this.#leave(
        'closing',
        new VerbenaError('ERR_VERBENA_PEER_CLOSED', 'the server closed the connection'),
      );
      // Answers that arrived before the server's farewell are in the completion queue: two turns
      // fetch them.
      await turn();
      await turn();
      return;
    }
    await within(
      Promise.all([this.#requester.idle(), this.#oneSided.idle()]),
      this.#finishTimeoutMs,
    );
  }

  async teardown(error: VerbenaError): Promise<void> {
    this.#leave('closing', error);
    const undone = this.#undo.run();
    this.#requester.shutdown(error);
    this.#oneSided.shutdown(error);
    await undone;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- a server may have to ask a worker
  async queuePairState(): Promise<string | undefined> {
    return this.#endpoint.qp.state();
  }

  onDrain(timeoutMs: number): void {
    if (this.#state !== 'open') return;
    this.#leave(
      'draining',
      new VerbenaError('ERR_VERBENA_DRAINING', 'the server is about to stop; connect elsewhere'),
    );
    this.#finishTimeoutMs = timeoutMs;
    this.emit('drain', timeoutMs);
    void this.#control.close('drained');
  }

  // No new work from now on; the first reason counts.
  #leave(state: 'draining' | 'closing', error: VerbenaError): void {
    if (this.#state === 'open' || this.#state === 'draining') this.#state = state;
    this.#requester.refuseNew(error);
    this.#oneSided.refuseNew(error);
    this.#retrier?.stop();
  }

  async #onEnded(reason: VerbenaError): Promise<void> {
    const failure = cleanupError('closing a connection', await this.#undo.run());
    this.#state = 'closed';
    try {
      this.emit('close', reason);
    } catch (error) {
      throwLater(error);
    }
    if (failure !== undefined) throw failure;
  }
}
