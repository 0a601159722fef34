// The server's half of request and response: runs handlers, a bounded number at once, and answers
// each request once.
import { performance } from 'node:perf_hooks';
import type { RequestGate, RequestRefusal } from '../admission/request-gate.js';
import { RequestError, VerbenaError } from '../errors.js';
import { DeadlineTimer } from './deadline-timer.js';
import type { DurationHistogram } from './duration-histogram.js';
import type { Endpoint } from './endpoint.js';
import {
  ERROR_HAS_RETRY_AFTER,
  MessageType,
  OFFER_IS_RESPONSE,
  RequestStatus,
  STATUS_APPLICATION,
  decodeOffer,
  encodeErrorBody,
  requestStatusName,
  type MessageHeader,
} from './header.js';
import { Rendezvous, memoryGoneError } from './rendezvous.js';
import {
  NO_PAYLOAD,
  ServedRequest,
  isPromise,
  type AnswerTiming,
  type HandlerResult,
  type RequestHandler,
} from './served-request.js';

const MAX_ERROR_TEXT_BYTES = 1024;
/** Requests beyond the agreed number that are refused; then the client is sent away. */
const MAX_EXCESS_REQUESTS = 1000;

export interface ResponderOptions<Session> {
  readonly endpoint: Endpoint;
  readonly session: Session;
  readonly handler: RequestHandler<Session>;
  /**
   * Requests unanswered, and handlers running, at once; what comes on top is answered with
   * ERR_VERBENA_RESOURCE_EXHAUSTED.
   */
  readonly maxRequests: number;
  /** Decides over the requests of all connections together. */
  readonly gate: RequestGate;
  /** Whether the client understands when it is told to try again. */
  readonly tellsRetryAfter: boolean;
  readonly timeoutMs: number;
  readonly maxPayloadBytes: number;
  readonly maxResponseBytes: number;
  readonly rendezvousTimeoutMs: number;
  /** Learns how long each request took, from its arrival to its answer. */
  readonly durations: DurationHistogram;
  /** Learns how long each request that was taken had waited since its arrival. */
  readonly startDelays: DurationHistogram;
  /** A handler threw something that is not a RequestError, or returned what is no response. */
  readonly onHandlerError: (error: unknown) => void;
}

interface WaitingResponse {
  readonly id: number;
  readonly timing: AnswerTiming;
  readonly payload: Uint8Array;
  /** Bytes of it when it came. */
  readonly length: number;
}

export class Responder<Session> {
  readonly #options: ResponderOptions<Session>;
  readonly #endpoint: Endpoint;
  readonly #rendezvous: Rendezvous;
  readonly #timer: DeadlineTimer;
  /** Not answered yet, but for `#current`. */
  readonly #others = new Map<number, ServedRequest<Session>>();
  /**
   * The one whose handler was called and has not returned. Most are answered then: they never enter
   * the map, unless somebody asks for all that are open.
   */
  #current: ServedRequest<Session> | undefined;
  /** Payload being read, answered or not. */
  readonly #pulling = new Map<number, ServedRequest<Session>>();
  /** Handler running, answered or not. */
  readonly #running = new Set<ServedRequest<Session>>();
  /** Requests that came although the client had no right to another. */
  #excess = 0;
  /** Large responses that wait for an offer of their own. */
  readonly #waitingResponses: WaitingResponse[] = [];
  #refuseWith: number | undefined;
  #answered = 0;
  #answeredMs = 0;
  #idleWaiters: (() => void)[] = [];

  constructor(options: ResponderOptions<Session>) {
    const { endpoint } = options;
    this.#options = options;
    this.#endpoint = endpoint;
    this.#timer = new DeadlineTimer((now) => this.#expire(now));
    this.#rendezvous = new Rendezvous({
      endpoint,
      timeoutMs: options.rendezvousTimeoutMs,
      onReleased: () => this.#sendWaitingResponses(),
      onExpired: () => this.#sendWaitingResponses(),
      onPulled: (id, payload) => this.#onPulled(id, payload),
      onPullFailed: (id) => this.#onPullFailed(id),
    });
  }

  /** Requests not answered. */
  get open(): number {
    return this.#open.size;
  }

  /** Requests that were taken and answered. */
  get answered(): number {
    return this.#answered;
  }

  /** The time that those took together. */
  get answeredMs(): number {
    return this.#answeredMs;
  }

  onRequest(header: MessageHeader, at: number): void {
    const { length } = header;
    const request = this.#accept(header, length);
    if (request === undefined) return;
    request.payload = this.#endpoint.bytes.slice(at, at + length);
    this.#current = request;
    this.#run(request, 0);
  }

  onCancel(header: MessageHeader): void {
    // Absent: the answer and the cancellation crossed.
    const request = this.#open.get(header.id);
    if (request === undefined) return;
    this.#endpoint.stats.requestsCancelled++;
    const reason = new VerbenaError('ERR_VERBENA_ABORTED', 'the client cancelled the request');
    this.#giveUp(request, RequestStatus.cancelled, reason);
  }

  onOffer(header: MessageHeader, at: number): void {
    const { id, flags, length } = header;
    const offer = decodeOffer(this.#endpoint.view, at, length);
    if ((flags & OFFER_IS_RESPONSE) !== 0 || offer === undefined || offer.length === 0) {
      this.#endpoint.failProtocol('an offer is malformed');
      return;
    }
    if (offer.length > this.#options.maxPayloadBytes) {
      this.#endpoint.failProtocol(`${offer.length} bytes are offered, against the limit`);
      return;
    }
    const request = this.#accept(header, offer.length);
    if (request === undefined) {
      this.#rendezvous.sendDone(id, true);
      return;
    }
    this.#keep(request);
    this.#pulling.set(id, request);
    this.#rendezvous.pull(id, offer);
  }

  onOfferDone(header: MessageHeader): void {
    // An offer that expired here may still be acknowledged: that is late, not wrong.
    this.#rendezvous.release(header.id, header.word !== 0);
  }

  /** Answers new requests with a refusal from now on. */
  refuseNew(): void {
    this.#refuseWith = RequestStatus.draining;
  }

  /** Resolves when every request is answered, and the client has every answer. */
  async finished(): Promise<void> {
    if (this.#open.size > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    while (this.#waitingResponses.length > 0 && this.#endpoint.isUsable) {
      await this.#rendezvous.idle();
    }
    await this.#rendezvous.idle();
    await this.#endpoint.settled();
  }

  /** Aborts what is running and answers it with a refusal. */
  abortAll(reason: VerbenaError): void {
    for (const request of [...this.#open.values()]) {
      this.#giveUp(request, RequestStatus.draining, reason);
    }
  }

  /** The connection is gone: handlers are told, nothing is answered any more. */
  shutdown(reason: VerbenaError): void {
    this.#timer.stop();
    this.#rendezvous.stop();
    const open = [...this.#open.values()];
    this.#endpoint.stats.requestsAbandoned += open.length + this.#waitingResponses.length;
    this.#endpoint.stats.answersWaiting -= this.#waitingResponses.length;
    for (const { payload } of this.#waitingResponses) this.#options.gate.hold(-payload.length);
    this.#waitingResponses.length = 0;
    this.#open.clear();
    const now = performance.now();
    for (const [position, request] of open.entries()) {
      this.#options.gate.leave(open.length - 1 - position, now);
      this.#options.gate.hold(-ServedRequest.bytesOf(request));
      ServedRequest.abort(request, reason);
    }
    this.#wakeIdle();
  }

  get #open(): Map<number, ServedRequest<Session>> {
    this.#keepCurrent();
    return this.#others;
  }

  #keepCurrent(): void {
    const current = this.#current;
    if (current === undefined) return;
    this.#current = undefined;
    this.#keep(current);
  }

  /** It is not answered by its handler's return. */
  #keep(request: ServedRequest<Session>): void {
    this.#others.set(ServedRequest.idOf(request), request);
    this.#timer.arm(ServedRequest.deadlineOf(request));
  }

  #accept(header: MessageHeader, bytes: number): ServedRequest<Session> | undefined {
    const { timeoutMs, session, gate, startDelays } = this.#options;
    const { id } = header;
    if (this.#others.has(id) || this.#pulling.has(id)) {
      this.#endpoint.failProtocol(`request ${id} is begun twice`);
      return undefined;
    }
    this.#endpoint.stats.requests++;
    const now = performance.now();
    if (this.#isRefused(id, bytes, now)) return undefined;
    gate.hold(bytes);
    startDelays.observe(now - this.#endpoint.arrivedMs);
    return new ServedRequest(session, header, bytes, now + timeoutMs);
  }

  // A client that keeps to the agreed number never has more requests unanswered: it counts them,
  // too. It may have more handlers running, of requests that it cancelled.
  #isRefused(id: number, bytes: number, now: number): boolean {
    const { maxRequests, gate } = this.#options;
    const isExcess = this.#unanswered >= maxRequests;
    if (isExcess && ++this.#excess > MAX_EXCESS_REQUESTS) {
      this.#endpoint.failOveruse(`went on sending beyond ${maxRequests} unanswered requests`);
    }
    const isFull = isExcess || this.#pulling.size + this.#running.size >= maxRequests;
    if (this.#refuseWith !== undefined) {
      this.#sendError(id, this.#refuseWith, '');
      return true;
    }
    const refusal = isFull
      ? gate.refuseExcess(maxRequests, now)
      : (gate.refuseForMemory(bytes, now) ?? gate.enter(this.#others.size, now));
    if (refusal === undefined) return false;
    this.#sendRefusal(id, refusal);
    return true;
  }

  get #unanswered(): number {
    const { sender } = this.#endpoint;
    return this.#others.size + this.#waitingResponses.length + sender.waitingAnswers;
  }

  #run(request: ServedRequest<Session>, pulledBytes: number): void {
    let result: HandlerResult | PromiseLike<HandlerResult>;
    let mustWait: boolean;
    try {
      result = ServedRequest.handle(request, this.#options.handler);
      mustWait = isPromise(result);
    } catch (error) {
      if (this.#endRun(request, pulledBytes)) this.#answerFailure(request, error);
      return;
    }
    // Most handlers have the answer at hand, and to wait for nothing is not for nothing.
    if (mustWait) void this.#wait(request, result as PromiseLike<HandlerResult>, pulledBytes);
    else if (this.#endRun(request, pulledBytes)) this.#answer(request, result);
  }

  async #wait(
    request: ServedRequest<Session>,
    promise: PromiseLike<HandlerResult>,
    pulledBytes: number,
  ): Promise<void> {
    this.#keepCurrent();
    this.#running.add(request);
    let result: HandlerResult;
    try {
      result = await promise;
    } catch (error) {
      if (this.#endRun(request, pulledBytes)) this.#answerFailure(request, error);
      return;
    }
    if (this.#endRun(request, pulledBytes)) this.#answer(request, result);
  }

  /** False when it is answered already: timed out, cancelled, given up. */
  #endRun(request: ServedRequest<Session>, pulledBytes: number): boolean {
    if (this.#running.size > 0) this.#running.delete(request);
    if (pulledBytes > 0) this.#rendezvous.finished(pulledBytes);
    return this.#current === request || this.#others.get(ServedRequest.idOf(request)) === request;
  }

  #answer(request: ServedRequest<Session>, result: unknown): void {
    if (result === undefined) this.#respond(request, NO_PAYLOAD);
    else if (result instanceof Uint8Array) this.#respond(request, result);
    else {
      const error = new TypeError('a request handler must return a Uint8Array or nothing');
      this.#answerFailure(request, error);
    }
  }

  #respond(request: ServedRequest<Session>, payload: Uint8Array): void {
    const id = ServedRequest.idOf(request);
    const timing = ServedRequest.timing(request);
    this.#close(request);
    if (payload.length > this.#options.maxResponseBytes) {
      this.#sendError(id, RequestStatus.responseTooLarge, `${payload.length} bytes`);
      return;
    }
    if (payload.length <= this.#endpoint.sender.maxPayloadBytes) {
      this.#endpoint.stats.responses++;
      this.#endpoint.send(MessageType.response, timing.flags, id, timing.word, payload);
      this.#watchClient();
      return;
    }
    this.#waitingResponses.push({ id, timing, payload, length: payload.length });
    this.#options.gate.hold(payload.length);
    this.#endpoint.stats.answersWaiting++;
    this.#sendWaitingResponses();
  }

  #sendWaitingResponses(): void {
    let sent = 0;
    for (const { id, timing, payload, length } of this.#waitingResponses) {
      if (!this.#rendezvous.canOffer(length) || !this.#endpoint.isUsable) break;
      sent++;
      this.#options.gate.hold(-length);
      try {
        if (payload.length !== length) throw memoryGoneError('response');
        this.#rendezvous.offer(id, OFFER_IS_RESPONSE | timing.flags, timing.word, payload);
        this.#endpoint.stats.responses++;
      } catch (error) {
        this.#options.onHandlerError(error);
        this.#sendError(id, RequestStatus.rendezvousFailed, 'the server has no memory for it');
      }
    }
    this.#waitingResponses.splice(0, sent);
    this.#endpoint.stats.answersWaiting -= sent;
    this.#watchClient();
  }

  /** Notices in time that the client takes no answers. */
  #watchClient(): void {
    const { sender } = this.#endpoint;
    if (sender.isBlocked) this.#timer.arm(sender.blockedSince + this.#options.rendezvousTimeoutMs);
  }

  #answerFailure(request: ServedRequest<Session>, error: unknown): void {
    const id = ServedRequest.idOf(request);
    this.#close(request);
    if (error instanceof RequestError && error.status !== undefined) {
      this.#sendError(id, STATUS_APPLICATION + error.status, error.message);
      return;
    }
    this.#sendError(id, RequestStatus.handlerFailed, '');
    this.#options.onHandlerError(error);
  }

  #giveUp(request: ServedRequest<Session>, status: number, reason: VerbenaError): void {
    const id = ServedRequest.idOf(request);
    this.#close(request);
    this.#sendError(id, status, '');
    ServedRequest.abort(request, reason);
  }

  #sendRefusal(id: number, { text, retryAfterMs }: RequestRefusal): void {
    const { tellsRetryAfter } = this.#options;
    this.#sendError(id, RequestStatus.exhausted, text, tellsRetryAfter ? retryAfterMs : undefined);
  }

  #sendError(id: number, status: number, text: string, retryAfterMs?: number): void {
    const { stats } = this.#endpoint;
    stats.requestErrors++;
    stats.errorAnswers[requestStatusName(status)]++;
    const limit = Math.min(MAX_ERROR_TEXT_BYTES, this.#endpoint.sender.maxPayloadBytes);
    const body = encodeErrorBody(text, retryAfterMs, limit);
    const flags = retryAfterMs === undefined ? 0 : ERROR_HAS_RETRY_AFTER;
    this.#endpoint.send(MessageType.error, flags, id, status, body);
    this.#watchClient();
  }

  #close(request: ServedRequest<Session>): void {
    if (this.#current === request) this.#current = undefined;
    else this.#others.delete(ServedRequest.idOf(request));
    const startedAt = ServedRequest.deadlineOf(request) - this.#options.timeoutMs;
    const now = performance.now();
    const ms = now - startedAt;
    this.#options.gate.leave(this.#others.size, now);
    this.#options.gate.hold(-ServedRequest.bytesOf(request));
    this.#options.durations.observe(ms);
    this.#answered++;
    this.#answeredMs += ms;
    if (this.#others.size === 0 && this.#idleWaiters.length > 0) this.#wakeIdle();
  }

  #onPulled(id: number, payload: Uint8Array): void {
    const request = this.#takePulling(id);
    if (this.#open.get(id) !== request) {
      // Cancelled or timed out while it was read.
      this.#rendezvous.finished(payload.length);
      return;
    }
    request.payload = payload;
    this.#run(request, payload.length);
  }

  #onPullFailed(id: number): void {
    const request = this.#takePulling(id);
    if (this.#open.get(id) !== request) return;
    this.#close(request);
    this.#sendError(id, RequestStatus.rendezvousFailed, 'the server has no memory for it');
  }

  #takePulling(id: number): ServedRequest<Session> {
    const request = this.#pulling.get(id) as ServedRequest<Session>;
    this.#pulling.delete(id);
    return request;
  }

  #expire(now: number): number {
    const { rendezvousTimeoutMs } = this.#options;
    const stalledAt = this.#endpoint.sender.blockedSince + rendezvousTimeoutMs;
    if (stalledAt <= now) {
      this.#endpoint.failOveruse(`took none of its answers for ${rendezvousTimeoutMs} ms`);
      return Infinity;
    }
    let next = stalledAt;
    for (const request of new Set([...this.#open.values(), ...this.#running])) {
      const deadline = ServedRequest.deadlineOf(request);
      if (deadline > now) next = Math.min(next, deadline);
      else if (this.#open.get(ServedRequest.idOf(request)) === request) this.#timeOut(request);
    }
    this.#checkHandlers(now);
    return next;
  }

  #timeOut(request: ServedRequest<Session>): void {
    this.#endpoint.stats.requestTimeouts++;
    const reason = new VerbenaError(
      'ERR_VERBENA_REQUEST_TIMEOUT',
      `the handler did not finish within ${this.#options.timeoutMs} ms`,
    );
    this.#giveUp(request, RequestStatus.timedOut, reason);
  }

  /** A client none of whose requests can be handled any more is of no use to anybody. */
  #checkHandlers(now: number): void {
    const { maxRequests, timeoutMs } = this.#options;
    if (this.#running.size < maxRequests) return;
    for (const request of this.#running) if (ServedRequest.deadlineOf(request) > now) return;
    this.#endpoint.failOveruse(
      `has ${maxRequests} requests whose handlers still run after ${timeoutMs} ms`,
    );
  }

  #wakeIdle(): void {
    for (const wake of this.#idleWaiters.splice(0)) wake();
  }
}
