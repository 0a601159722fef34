// The client's half of request and response: sends requests within the server's window, settles
// their promises.
import { performance } from 'node:perf_hooks';
import { VerbenaError, type VerbenaErrorCode } from '../errors.js';
import { DeadlineTimer } from './deadline-timer.js';
import type { Endpoint } from './endpoint.js';
import {
  ERROR_HAS_RETRY_AFTER,
  MessageType,
  OFFER_IS_RESPONSE,
  RETRY_AFTER_BYTES,
  RequestStatus,
  STATUS_APPLICATION,
  TIMED,
  decodeOffer,
  type MessageHeader,
} from './header.js';
import { Rendezvous, memoryGoneError, rendezvousError } from './rendezvous.js';
import { PhaseTrace, type RequestPhases } from './request-phases.js';
import { RequestTable } from './request-table.js';

export interface RequestOptions {
  /** Number that the server's handler sees as `request.method`: 0 (default) to 2^32 − 1. */
  readonly method?: number | undefined;
  /**
   * Milliseconds until the request fails with ERR_VERBENA_REQUEST_TIMEOUT; default: the
   * connection's.
   */
  readonly timeoutMs?: number | undefined;
  /** Aborting it fails the request with ERR_VERBENA_ABORTED and tells the server to stop. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Called just before the promise resolves: where the time went. To be asked of some requests
   * only, as it costs a little. Not called for a request that fails, nor when the server is of a
   * version that does not know it.
   */
  readonly onPhases?: ((phases: RequestPhases) => void) | undefined;
}

export interface RequesterOptions {
  readonly endpoint: Endpoint;
  /** Requests the server takes at once. */
  readonly window: number;
  /** Requests that may wait beyond the window. */
  readonly queueSize: number;
  readonly timeoutMs: number;
  /** Whether the server says how long its handler took. */
  readonly isTimed: boolean;
  /** Largest request and largest response. */
  readonly maxPayloadBytes: number;
  readonly maxResponseBytes: number;
  readonly rendezvousTimeoutMs: number;
}

const statusErrors: Readonly<Record<number, readonly [VerbenaErrorCode, string]>> = {
  [RequestStatus.handlerFailed]: ['ERR_VERBENA_HANDLER', 'the server failed to handle the request'],
  [RequestStatus.cancelled]: ['ERR_VERBENA_ABORTED', 'the request was cancelled'],
  [RequestStatus.timedOut]: ['ERR_VERBENA_REQUEST_TIMEOUT', 'the server gave the request up'],
  [RequestStatus.exhausted]: [
    'ERR_VERBENA_RESOURCE_EXHAUSTED',
    'the server takes no more requests now',
  ],
  [RequestStatus.draining]: ['ERR_VERBENA_DRAINING', 'the server takes no more requests'],
  [RequestStatus.responseTooLarge]: [
    'ERR_VERBENA_PAYLOAD_TOO_LARGE',
    'the response exceeds what this client takes',
  ],
  [RequestStatus.rendezvousFailed]: [
    'ERR_VERBENA_RENDEZVOUS',
    'a large payload was not transferred',
  ],
};

interface Abortion {
  readonly signal: AbortSignal;
  readonly listener: () => void;
}

interface QueuedRequest {
  readonly id: number;
  readonly method: number;
  readonly payload: Uint8Array;
  /** Bytes of it when it came. */
  readonly length: number;
}

const utf8 = new TextDecoder();

export class Requester {
  readonly #options: RequesterOptions;
  readonly #endpoint: Endpoint;
  readonly #table: RequestTable;
  readonly #rendezvous: Rendezvous;
  readonly #timer: DeadlineTimer;
  readonly #abortions = new Map<number, Abortion>();
  /** Of requests whose phases were asked for. */
  readonly #traces = new Map<number, PhaseTrace>();
  /** Not sent for want of window, credit or offers. */
  #queue: QueuedRequest[] = [];
  #closedBy: VerbenaError | undefined;
  #idleWaiters: (() => void)[] = [];

  constructor(options: RequesterOptions) {
    const { endpoint } = options;
    this.#options = options;
    this.#endpoint = endpoint;
    this.#table = new RequestTable(options.window + options.queueSize);
    this.#timer = new DeadlineTimer((now) => this.#table.expire(now, (id) => this.#onTimeout(id)));
    this.#rendezvous = new Rendezvous({
      endpoint,
      timeoutMs: options.rendezvousTimeoutMs,
      onReleased: (id) => this.#onReleased(id),
      onExpired: (id) => this.#onExpired(id),
      onPulled: (id, payload) => this.#onPulled(id, payload),
      onPullFailed: (id, error) => this.#onPullFailed(id, error),
    });
  }

  /** Requests that are not finished. */
  get pending(): number {
    return this.#table.used;
  }

  /**
   * Resolves with the response. `payload` must not change until then. Never throws: every failure
   * is a rejection with a VerbenaError.
   */
  request(payload: Uint8Array, options: RequestOptions = {}): Promise<Uint8Array> {
    const refusal = this.#refusal(payload, options);
    if (refusal !== undefined) return Promise.reject(refusal);
    const deadline = performance.now() + (options.timeoutMs ?? this.#options.timeoutMs);
    const table = this.#table;
    const id = table.add(deadline);
    const promise = table.promise as Promise<Uint8Array>;
    table.promise = undefined;
    this.#timer.arm(deadline);
    if (options.signal !== undefined) this.#listen(id, options.signal);
    if (options.onPhases !== undefined) this.#trace(id, options.onPhases);
    this.#endpoint.stats.requests++;
    const method = options.method ?? 0;
    if (this.#queue.length > 0 || !this.#trySend(id, method, payload)) {
      this.#queue.push({ id, method, payload, length: payload.length });
    }
    this.#endpoint.schedule();
    return promise;
  }

  /** Sends what is queued, as far as window, credits and offers allow. */
  pump(): void {
    let done = 0;
    for (const { id, method, payload, length } of this.#queue) {
      if (payload.length !== length) this.#fail(id, memoryGoneError('request'));
      else if (!this.#trySend(id, method, payload)) break;
      done++;
    }
    if (done > 0) this.#queue.splice(0, done);
  }

  onResponse(header: MessageHeader, at: number): void {
    const { id, length } = header;
    if (!this.#checkAwaited(id)) return;
    this.#closeOffer(id);
    this.#endpoint.stats.responses++;
    this.#table.markAnswered(id, false);
    if (header.flags !== 0) this.#traces.get(id)?.onAnswered(header.word);
    this.#finish(id);
    this.#table.resolve(id, this.#endpoint.bytes.slice(at, at + length));
    this.#afterAnswer();
  }

  onError(header: MessageHeader, at: number): void {
    const { id, word: status, flags, length } = header;
    if (!this.#checkAwaited(id)) return;
    const textAt = (flags & ERROR_HAS_RETRY_AFTER) === 0 ? 0 : RETRY_AFTER_BYTES;
    if (length < textAt) {
      this.#endpoint.failProtocol('an error is shorter than it says');
      return;
    }
    const { stats, bytes, view } = this.#endpoint;
    stats.requestErrors++;
    const text = utf8.decode(bytes.subarray(at + textAt, at + length));
    const retryAfterMs = textAt === 0 ? undefined : view.getUint32(at, true);
    this.#table.markAnswered(id, false);
    this.#fail(id, errorOfStatus(status, text, retryAfterMs));
    this.#afterAnswer();
  }

  onOffer(header: MessageHeader, at: number): void {
    const { id, flags, length } = header;
    if ((flags & OFFER_IS_RESPONSE) === 0) {
      this.#endpoint.failProtocol('a server offered a request');
      return;
    }
    if (!this.#checkAwaited(id)) return;
    const offer = decodeOffer(this.#endpoint.view, at, length);
    if (offer === undefined || offer.length === 0) {
      this.#endpoint.failProtocol('an offer is malformed');
    } else if (offer.length > this.#options.maxResponseBytes) {
      this.#endpoint.failProtocol(
        `a response of ${offer.length} bytes is offered, against the limit`,
      );
    } else {
      this.#closeOffer(id);
      this.#table.markAnswered(id, true);
      if ((flags & TIMED) !== 0) this.#traces.get(id)?.onAnswered(header.word);
      this.#rendezvous.pull(id, offer);
      this.#endpoint.schedule();
    }
  }

  onOfferDone(header: MessageHeader): void {
    // An offer that expired here may still be acknowledged: that is late, not wrong.
    this.#rendezvous.release(header.id, header.word !== 0);
  }

  /** Refuses new requests with this error from now on. */
  refuseNew(error: VerbenaError): void {
    this.#closedBy ??= error;
  }

  /** Resolves when no request is pending. */
  idle(): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Fails everything that is pending, at once. */
  shutdown(error: VerbenaError): void {
    this.refuseNew(error);
    this.#timer.stop();
    this.#rendezvous.stop();
    for (const id of [...this.#abortions.keys()]) this.#forget(id);
    this.#traces.clear();
    this.#queue = [];
    this.#table.rejectAll(error);
    this.#wakeIdle();
  }

  #refusal(payload: Uint8Array, options: RequestOptions): VerbenaError | undefined {
    if (this.#closedBy !== undefined) return this.#closedBy;
    if (!(payload instanceof Uint8Array)) return invalid('payload must be a Uint8Array');
    const { method = 0, timeoutMs = 1, signal } = options;
    if (!Number.isInteger(method) || method < 0 || method > 0xffff_ffff) {
      return invalid(`method must be an integer from 0 to 2^32 - 1, not ${method}`);
    }
    if (!(timeoutMs > 0 && timeoutMs <= 2 ** 31 - 1)) {
      return invalid(`timeoutMs must be more than 0 and less than 2^31, not ${timeoutMs}`);
    }
    if (payload.length > this.#options.maxPayloadBytes) {
      return new VerbenaError(
        'ERR_VERBENA_PAYLOAD_TOO_LARGE',
        `a request of ${payload.length} bytes exceeds the ${this.#options.maxPayloadBytes} bytes ` +
          'that the server takes; split it, or raise maxPayloadBytes on the server',
      );
    }
    if (signal?.aborted === true) return abortedError(signal);
    if (!this.#table.isFull) return undefined;
    return new VerbenaError(
      'ERR_VERBENA_QUEUE_FULL',
      `${this.#table.used} requests are pending already; await some, or raise queueSize`,
    );
  }

  #trySend(id: number, method: number, payload: Uint8Array): boolean {
    const table = this.#table;
    if (table.unanswered >= this.#options.window || !this.#endpoint.isUsable) return false;
    const { sender } = this.#endpoint;
    if (sender.isBlocked) return false;
    const trace = this.#traces.size === 0 ? undefined : this.#traces.get(id);
    const flags = trace === undefined ? 0 : TIMED;
    if (payload.length > sender.maxPayloadBytes) return this.#tryOffer(id, flags, method, payload);
    if (!sender.tryAppend(MessageType.request, flags, id, method, payload)) return false;
    table.markSent(id);
    if (trace !== undefined) sender.watch(trace);
    return true;
  }

  #tryOffer(id: number, flags: number, method: number, payload: Uint8Array): boolean {
    if (!this.#rendezvous.canOffer(payload.length)) return false;
    try {
      this.#rendezvous.offerInPlace(id, flags, method, payload);
    } catch (error) {
      const message = 'no memory for a large payload';
      this.#fail(id, new VerbenaError('ERR_VERBENA_NO_MEMORY', message, { cause: error }));
      return true;
    }
    this.#table.markSent(id);
    this.#table.setOffered(id, true);
    const trace = this.#traces.get(id);
    if (trace !== undefined) this.#endpoint.sender.watch(trace);
    return true;
  }

  #fail(id: number, error: VerbenaError): void {
    this.#forget(id);
    this.#table.reject(id, error);
  }

  /** Whoever answers has read what was asked: it must not see what the memory has next. */
  #closeOffer(id: number): void {
    if (this.#rendezvous.hasOffers) this.#rendezvous.release(id, false);
  }

  #checkAwaited(id: number): boolean {
    if (this.#table.isAwaited(id)) return true;
    this.#endpoint.failProtocol(`it answered request ${id}, which awaits no answer`);
    return false;
  }

  #onTimeout(id: number): void {
    this.#endpoint.stats.requestTimeouts++;
    this.#giveUp(
      id,
      new VerbenaError(
        'ERR_VERBENA_REQUEST_TIMEOUT',
        this.#table.isQueued(id)
          ? 'the request timed out before it could be sent: the server or its window is busy'
          : 'the request timed out: the server did not answer in time',
      ),
    );
  }

  // The promise is settled now; the id is free when the server, told to stop, has answered.
  #giveUp(id: number, error: VerbenaError): void {
    const wasAwaited = this.#table.isAwaited(id);
    if (this.#table.isQueued(id)) this.#unqueue(id);
    this.#fail(id, error);
    if (wasAwaited) this.#endpoint.send(MessageType.cancel, 0, id, 0);
    this.#afterAnswer();
  }

  #unqueue(id: number): void {
    const position = this.#queue.findIndex((request) => request.id === id);
    if (position >= 0) this.#queue.splice(position, 1);
  }

  #listen(id: number, signal: AbortSignal): void {
    const listener = (): void => {
      this.#endpoint.stats.requestsCancelled++;
      this.#giveUp(id, abortedError(signal));
    };
    this.#abortions.set(id, { signal, listener });
    signal.addEventListener('abort', listener, { once: true });
  }

  #trace(id: number, tell: (phases: RequestPhases) => void): void {
    if (this.#options.isTimed) this.#traces.set(id, new PhaseTrace(tell));
  }

  /** Its promise resolves next. */
  #finish(id: number): void {
    if (this.#traces.size > 0) this.#traces.get(id)?.finish();
    this.#forget(id);
  }

  #forget(id: number): void {
    if (this.#traces.size > 0) this.#traces.delete(id);
    if (this.#abortions.size === 0) return;
    const abortion = this.#abortions.get(id);
    if (abortion === undefined) return;
    abortion.signal.removeEventListener('abort', abortion.listener);
    this.#abortions.delete(id);
  }

  #onReleased(id: number): void {
    this.#table.setOffered(id, false);
    this.#afterAnswer();
  }

  #onExpired(id: number): void {
    this.#fail(id, rendezvousError('the server did not read it in time'));
    this.#table.setOffered(id, false);
    this.#afterAnswer();
  }

  #onPulled(id: number, payload: Uint8Array): void {
    this.#endpoint.stats.responses++;
    this.#finish(id);
    this.#table.resolve(id, payload);
    this.#table.markPulled(id);
    this.#rendezvous.finished(payload.length);
    this.#afterAnswer();
  }

  #onPullFailed(id: number, error: VerbenaError): void {
    this.#fail(id, error);
    this.#table.markPulled(id);
    this.#afterAnswer();
  }

  #afterAnswer(): void {
    if (this.#queue.length > 0) this.#endpoint.schedule();
    if (this.#idleWaiters.length > 0 && this.pending === 0) this.#wakeIdle();
  }

  #wakeIdle(): void {
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }
}

function errorOfStatus(
  status: number,
  text: string,
  retryAfterMs: number | undefined,
): VerbenaError {
  if (status >= STATUS_APPLICATION) {
    return new VerbenaError('ERR_VERBENA_HANDLER', text, { status: status - STATUS_APPLICATION });
  }
  const [code, message] = statusErrors[status] ?? [
    'ERR_VERBENA_HANDLER',
    `the server answered with status ${status}`,
  ];
  return new VerbenaError(code, text === '' ? message : `${message}: ${text}`, { retryAfterMs });
}

function abortedError(signal: AbortSignal): VerbenaError {
  return new VerbenaError('ERR_VERBENA_ABORTED', 'the request was aborted', {
    cause: signal.reason,
  });
}

function invalid(message: string): VerbenaError {
  return new VerbenaError('ERR_VERBENA_INVALID_OPTION', message);
}
