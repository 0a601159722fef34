// The data half of a session in the thread that polls its completions: queue pair and memory, the
// proof, the requests, and the release of all that.
import type { RequestGate } from '../admission/request-gate.js';
import type { DurationHistogram } from '../connection/duration-histogram.js';
import type { EndpointUser } from '../connection/endpoint.js';
import { MessageType, type MessageHeader } from '../connection/header.js';
import { Responder } from '../connection/responder.js';
import type { RequestHandler } from '../connection/served-request.js';
import { UndoStack } from '../connection/undo-stack.js';
import { within } from '../connection/within.js';
import { VerbenaError } from '../errors.js';
import { encodeMessage, type Hello, type Welcome } from '../handshake/messages.js';
import { makeProof, proofMatches } from '../handshake/proof.js';
import { toRefusal } from './device-refusal.js';
import type { OpenOrder, Opened, SessionControl, SessionData } from './session-data.js';
import {
  openSessionResources,
  type SessionGrants,
  type SessionGround,
  type SessionResources,
} from './session-resources.js';

/** What sessions are granted, and how long things may take. */
export interface SessionDataOptions extends SessionGrants {
  readonly requestTimeoutMs: number;
  readonly rendezvousTimeoutMs: number;
  readonly closeTimeoutMs: number;
  /** Bytes of requests in work, and of answers that wait, of all sessions of the thread. */
  readonly requestMemoryBytes: number;
}

/** What the sessions of one thread share. `S`: a session as the handler sees it. */
export interface SessionDataHost<S> extends SessionGround {
  readonly options: SessionDataOptions;
  readonly handler: RequestHandler<S>;
  readonly requestDurations: DurationHistogram;
  readonly requestStartDelays: DurationHistogram;
  readonly gate: RequestGate;
}

/** What is forgotten once the client has proven itself. */
interface Exchange {
  readonly hello: Hello;
  readonly welcome: Welcome;
  readonly clientProof: Uint8Array;
  readonly serverProof: Uint8Array;
}

export class LocalSessionData<S> implements SessionData, EndpointUser {
  readonly #host: SessionDataHost<S>;
  readonly #session: S;
  readonly #control: SessionControl;
  readonly #undo = new UndoStack();
  #resources: SessionResources | undefined;
  #exchange: Exchange | undefined;
  #responder: Responder<S> | undefined;

  constructor(host: SessionDataHost<S>, session: S, control: SessionControl) {
    this.#host = host;
    this.#session = session;
    this.#control = control;
  }

  get requestsInWork(): number {
    return this.#responder?.open ?? 0;
  }

  get requestsAnswered(): number {
    return this.#responder?.answered ?? 0;
  }

  get requestTimeMs(): number {
    return this.#responder?.answeredMs ?? 0;
  }

  get region(): Uint8Array {
    const { region, endpoint } = this.#resources ?? {};
    if (region === undefined || endpoint === undefined) return new Uint8Array(0);
    return endpoint.qp.exposeToUser(region);
  }

  // Asynchronous for those in other threads.
  // eslint-disable-next-line @typescript-eslint/require-await
  async open(order: OpenOrder): Promise<Opened> {
    const { hello, helloRaw, proofKey } = order;
    try {
      const { resources, welcome } = openSessionResources(this.#host, this, order, this.#undo);
      const welcomeRaw = encodeMessage(welcome);
      const clientProof = makeProof(proofKey, 'client', helloRaw, welcomeRaw);
      const serverProof = makeProof(proofKey, 'server', helloRaw, welcomeRaw);
      this.#resources = resources;
      this.#exchange = { hello, welcome, clientProof, serverProof };
      const { qpn, owner } = resources.endpoint.qp;
      return { welcomeRaw, qpn, owner };
    } catch (error) {
      throw toRefusal(error);
    }
  }

  giveUp(reason: VerbenaError): void {
    this.#responder?.refuseNew();
    this.#responder?.abortAll(reason);
  }

  async quiesce(byPeer: boolean, reason: VerbenaError): Promise<void> {
    const responder = this.#responder;
    if (responder === undefined) return;
    responder.refuseNew();
    if (!byPeer) await within(responder.finished(), this.#host.options.closeTimeoutMs);
    responder.abortAll(reason);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async queuePairState(): Promise<string | undefined> {
    return this.#resources?.endpoint.qp.state();
  }

  close(reason: VerbenaError): Promise<unknown[]> {
    this.#exchange = undefined;
    this.#responder?.shutdown(reason);
    return this.#undo.run();
  }

  // EndpointUser: what arrives through RDMA.

  onMessage(header: MessageHeader, at: number): void {
    const responder = this.#responder;
    if (responder === undefined) {
      this.#onProof(header, at);
      return;
    }
    switch (header.type) {
      case MessageType.request:
        responder.onRequest(header, at);
        return;
      case MessageType.cancel:
        responder.onCancel(header);
        return;
      case MessageType.rendezvous:
        responder.onOffer(header, at);
        return;
      case MessageType.rendezvousDone:
        responder.onOfferDone(header);
        return;
      default:
        this.#resources?.endpoint.failProtocol(`a client sent a message of type ${header.type}`);
    }
  }

  onImmediate(value: number, byteLength: number): void {
    this.#control.onImmediate(value, byteLength);
  }

  onWritable(): void {
    // Responses wait in the send queue itself; nothing waits here.
  }

  onFailure(error: VerbenaError): void {
    this.#control.onQueuePairFailed(error);
  }

  #onProof(header: MessageHeader, at: number): void {
    const resources = this.#resources;
    const exchange = this.#exchange;
    if (resources === undefined || exchange === undefined) return;
    this.#exchange = undefined;
    const { endpoint, region } = resources;
    const received = endpoint.bytes.subarray(at, at + header.length);
    if (header.type !== MessageType.proof || !proofMatches(exchange.clientProof, received)) {
      this.#control.onUnproven(
        new VerbenaError(
          'ERR_VERBENA_PROOF_MISMATCH',
          'the queue pair does not belong to this TLS session',
        ),
      );
      return;
    }
    endpoint.send(MessageType.proof, 0, 0, 0, exchange.serverProof);
    this.#responder = this.#makeResponder(resources, exchange);
    this.#control.onProven(region && { rkey: region.rkey, length: region.length });
  }

  #makeResponder({ endpoint }: SessionResources, { hello, welcome }: Exchange): Responder<S> {
    const { options, handler, requestDurations, requestStartDelays, gate } = this.#host;
    return new Responder<S>({
      endpoint,
      session: this.#session,
      handler,
      maxRequests: welcome.maxRequests,
      gate,
      tellsRetryAfter: hello.readsRetryAfter === true,
      timeoutMs: options.requestTimeoutMs,
      maxPayloadBytes: options.maxPayloadBytes,
      maxResponseBytes: hello.maxPayloadBytes,
      rendezvousTimeoutMs: options.rendezvousTimeoutMs,
      durations: requestDurations,
      startDelays: requestStartDelays,
      onHandlerError: (error) => this.#control.onHandlerError(error),
    });
  }
}
