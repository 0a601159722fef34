// One client on the server: its set-up step by step, its life, and the undoing of every step
// whatever ends it.
import { EventEmitter } from 'node:events';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { RequestGate } from '../admission/request-gate.js';
import type { DurationHistogram } from '../connection/duration-histogram.js';
import type { EndpointUser } from '../connection/endpoint.js';
import { MessageType, type MessageHeader } from '../connection/header.js';
import { Responder } from '../connection/responder.js';
import { UndoStack } from '../connection/undo-stack.js';
import { within } from '../connection/within.js';
import { VerbenaError, toVerbenaError } from '../errors.js';
import { ControlChannel, type ControlListener } from '../handshake/control-channel.js';
import { ControlSession, type SessionHooks } from '../handshake/control-session.js';
import type { ControlMessage, Hello, Welcome } from '../handshake/messages.js';
import { exportProofKey, makeProof, proofMatches } from '../handshake/proof.js';
import { checkAlpn } from '../handshake/tls.js';
import type { OwnerNode } from '../rdma/registry.js';
import { RETRY_AFTER_MS, drainingError } from './refusal.js';
import {
  familiesOf,
  openSessionResources,
  type ServerResources,
  type SessionResources,
} from './session-resources.js';

/** Native refusals that mean "not now" rather than "never". */
const exhaustion: ReadonlySet<unknown> = new Set([
  'ENOMEM',
  'EAGAIN',
  'EMFILE',
  'ENFILE',
  'ENOSPC',
]);

export interface SessionEvents {
  /**
   * The client wrote to the region with an immediate: its value, and the number of bytes that came
   * with it. A write of more than 256 KiB goes in pieces of that size, and the last one counts.
   */
  immediate: [value: number, byteLength: number];
}

/** A connected client. */
export interface Session extends EventEmitter<SessionEvents> {
  /** Unique among the server's live sessions; not reused soon. */
  readonly id: number;
  /** What the client calls itself; not verified. */
  readonly name: string;
  /** Address and port of the client's TLS connection. */
  readonly remoteAddress: string;
  /** First packet sequence number of each direction, 24 bits. */
  readonly localPsn: number;
  readonly remotePsn: number;
  /** Number of the server's queue pair for this client, 24 bits. */
  readonly qpn: number;
  readonly isOpen: boolean;
  /** The client's certificate, verified by TLS; undefined unless the server has `requestCert`. */
  readonly certificate: PeerCertificate | undefined;
  /** When the set-up was finished, in milliseconds since the epoch. */
  readonly connectedAtMs: number;
  /** Requests whose handler has not answered. */
  readonly requestsInWork: number;
  /** Requests taken and answered so far, and the time that they took together. */
  readonly requestsAnswered: number;
  readonly requestTimeMs: number;
  /**
   * What the client writes and reads with one-sided operations: plain memory without locks. Empty
   * when the session has no region.
   */
  readonly region: Uint8Array;
  /** Its native objects, by what was made from what. */
  resources(): OwnerNode;
  /**
   * Finishes requests in work, closes in order; resolves when everything of the session is
   * released.
   */
  close(): Promise<void>;
}

/** What a session needs of its server. */
export interface SessionHost extends ServerResources<ServerSession> {
  /** What newcomers are told; undefined when they are welcome. */
  refusal(): VerbenaError | undefined;
  readonly requestDurations: DurationHistogram;
  readonly gate: RequestGate;
  /** A queue pair broke, during the set-up or later. */
  onQueuePairFailed(error: VerbenaError): void;
  onSessionReady(session: ServerSession): void;
  /** The set-up failed; everything of it is undone, except for `failures`. */
  onSetupFailed(session: ServerSession, error: VerbenaError, failures: unknown[]): void;
  onSessionEnded(session: ServerSession, reason: VerbenaError, failures: unknown[]): void;
  onHandlerError(session: Session, error: unknown): void;
}

/** What the set-up has agreed on. */
interface Agreement {
  readonly name: string;
  readonly remotePsn: number;
  readonly resources: SessionResources;
}

/** What is forgotten once the session is ready: the messages, and as the proofs cover them. */
interface Exchange {
  readonly hello: Hello;
  readonly helloRaw: Uint8Array;
  readonly welcome: Welcome;
  readonly welcomeRaw: Uint8Array;
}

export class ServerSession
  extends EventEmitter<SessionEvents>
  implements Session, ControlListener, EndpointUser, SessionHooks
{
  readonly remoteAddress: string;
  readonly #host: SessionHost;
  readonly #socket: TLSSocket;
  readonly #channel: ControlChannel;
  readonly #certificate: PeerCertificate | undefined;
  readonly #undo = new UndoStack();
  readonly #onSetupOver: (isReady: boolean) => void;
  #isSetupOver = false;
  #connectedAtMs = 0;
  #agreement: Agreement | undefined;
  #exchange: Exchange | undefined;
  #responder: Responder<Session> | undefined;
  #control: ControlSession | undefined;

  /** `onSetupOver` is called once, when the session is ready or has failed. */
  constructor(host: SessionHost, socket: TLSSocket, onSetupOver: (isReady: boolean) => void) {
    super();
    this.#host = host;
    this.#socket = socket;
    this.#onSetupOver = onSetupOver;
    this.#certificate = socket.authorized ? socket.getPeerCertificate() : undefined;
    this.remoteAddress = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
    this.#channel = new ControlChannel(socket, this);
  }

  /** Checks what TLS left open; a peer that is not welcome is refused. */
  start(): void {
    try {
      checkAlpn(this.#socket);
      this.#checkWelcome();
    } catch (error) {
      this.failSetup(toVerbenaError(error, 'ERR_VERBENA_INTERNAL'));
    }
  }

  get id(): number {
    return this.#agreement?.resources.id ?? 0;
  }

  get name(): string {
    return this.#agreement?.name ?? '';
  }

  get localPsn(): number {
    return this.#agreement?.resources.localPsn ?? 0;
  }

  get remotePsn(): number {
    return this.#agreement?.remotePsn ?? 0;
  }

  get qpn(): number {
    return this.#agreement?.resources.endpoint.qp.qpn ?? 0;
  }

  /** Of its native objects in the registry. */
  get owner(): string {
    return this.#agreement?.resources.endpoint.qp.owner ?? '';
  }

  get requestsAnswered(): number {
    return this.#responder?.answered ?? 0;
  }

  get requestTimeMs(): number {
    return this.#responder?.answeredMs ?? 0;
  }

  get connectedAtMs(): number {
    return this.#connectedAtMs;
  }

  get isOpen(): boolean {
    return this.#control?.isOpen ?? false;
  }

  get certificate(): PeerCertificate | undefined {
    return this.#certificate;
  }

  get requestsInWork(): number {
    return this.#responder?.open ?? 0;
  }

  get region(): Uint8Array {
    const { region, endpoint } = this.#agreement?.resources ?? {};
    if (region === undefined || endpoint === undefined) return new Uint8Array(0);
    return endpoint.qp.exposeToUser(region);
  }

  resources(): OwnerNode {
    const [tree] = this.#host.device.registry.tree([this.owner]);
    return tree as OwnerNode;
  }

  async close(): Promise<void> {
    await this.#control?.close('the server closed the session');
  }

  /** Like `close`, but gives requests in work up. */
  async closeNow(reason: VerbenaError): Promise<void> {
    this.#responder?.refuseNew();
    this.#responder?.abortAll(reason);
    if (this.#control !== undefined) await this.#control.close(reason.message);
    else await this.abort(reason);
  }

  /** Ends at once, without a word; resolves when everything is released. */
  async abort(reason: VerbenaError): Promise<void> {
    if (this.#control === undefined) this.failSetup(reason);
    else this.#control.abort(reason);
    await this.#undo.run();
  }

  sendDrain(timeoutMs: number): void {
    this.#control?.sendDrain(timeoutMs);
  }

  /**
   * Refuses a client that is not set up yet. `atOnce`: its deadline is over, the socket goes now.
   */
  failSetup(error: VerbenaError, atOnce = false): void {
    if (this.#isSetupOver) return;
    const isMismatch = error.code === 'ERR_VERBENA_GID_FAMILY_MISMATCH';
    this.#channel.refuse(error, isMismatch ? { families: familiesOf(this.#host) } : {});
    if (atOnce) this.#socket.destroySoon();
    this.onControlEnd(error);
  }

  // ControlListener: the set-up. Once the session is ready, ControlSession listens instead.

  onControlMessage(message: ControlMessage, raw: Buffer): void {
    if (message.type === 'keepalive') return;
    if (message.type !== 'hello' || this.#agreement !== undefined) {
      throw new VerbenaError(
        'ERR_VERBENA_UNEXPECTED_MESSAGE',
        `a '${message.type}' message is not expected during the set-up`,
      );
    }
    try {
      this.#onHello(message, raw);
    } catch (error) {
      this.failSetup(toRefusal(error));
    }
  }

  onControlEnd(error: VerbenaError): void {
    if (this.#isSetupOver) return;
    this.#setupIsOver(false);
    void this.#undo.run().then((failures) => this.#host.onSetupFailed(this, error, failures));
  }

  #checkWelcome(): void {
    const refusal = this.#host.refusal();
    if (refusal !== undefined) throw refusal;
  }

  #onHello(hello: Hello, helloRaw: Buffer): void {
    this.#checkWelcome();
    this.#channel.allowLargeFrames();
    const { resources, welcome } = openSessionResources(this.#host, this, this, hello, this.#undo);
    const welcomeRaw = this.#channel.send(welcome);
    this.#agreement = { name: hello.name, remotePsn: hello.endpoint.psn, resources };
    this.#exchange = { hello, helloRaw, welcome, welcomeRaw };
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
        this.#agreement?.resources.endpoint.failProtocol(
          `a client sent a message of type ${header.type}`,
        );
    }
  }

  onImmediate(value: number, byteLength: number): void {
    this.emit('immediate', value, byteLength);
  }

  onWritable(): void {
    // Responses wait in the send queue itself; nothing waits here.
  }

  onFailure(error: VerbenaError): void {
    this.#host.onQueuePairFailed(error);
    if (this.#control === undefined) this.failSetup(error);
    else if (error.code === 'ERR_VERBENA_OVERUSE') this.#control.expel(error);
    else this.#control.queuePairFailed(error);
  }

  #onProof(header: MessageHeader, at: number): void {
    const resources = this.#agreement?.resources;
    const exchange = this.#exchange;
    if (resources === undefined || exchange === undefined || this.#isSetupOver) return;
    const { helloRaw, welcomeRaw } = exchange;
    const { endpoint } = resources;
    const key = exportProofKey(this.#socket);
    const expected = makeProof(key, 'client', helloRaw, welcomeRaw);
    const received = endpoint.bytes.subarray(at, at + header.length);
    if (header.type !== MessageType.proof || !proofMatches(expected, received)) {
      this.failSetup(
        new VerbenaError(
          'ERR_VERBENA_PROOF_MISMATCH',
          'the queue pair does not belong to this TLS session',
        ),
      );
      return;
    }
    endpoint.send(MessageType.proof, 0, 0, 0, makeProof(key, 'server', helloRaw, welcomeRaw));
    this.#becomeReady(resources, exchange);
    this.#exchange = undefined;
  }

  #becomeReady({ endpoint, region }: SessionResources, { hello, welcome }: Exchange): void {
    const { options } = this.#host;
    this.#responder = new Responder<Session>({
      endpoint,
      session: this,
      handler: options.handler,
      maxRequests: welcome.maxRequests,
      gate: this.#host.gate,
      tellsRetryAfter: hello.readsRetryAfter === true,
      timeoutMs: options.requestTimeoutMs,
      maxPayloadBytes: options.maxPayloadBytes,
      maxResponseBytes: hello.maxPayloadBytes,
      rendezvousTimeoutMs: options.rendezvousTimeoutMs,
      durations: this.#host.requestDurations,
      onHandlerError: (error) => this.#host.onHandlerError(this, error),
    });
    this.#setupIsOver(true);
    this.#control = new ControlSession(this.#channel, this, {
      keepaliveSec: welcome.keepaliveSec,
      closeTimeoutMs: options.closeTimeoutMs,
    });
    void this.#control.ended.then(async (reason) => {
      this.#host.onSessionEnded(this, reason, await this.#undo.run());
    });
    this.#channel.send({
      type: 'ready',
      ...(region === undefined ? {} : { region: { rkey: region.rkey, length: region.length } }),
    });
    this.#host.onSessionReady(this);
  }

  #setupIsOver(isReady: boolean): void {
    this.#isSetupOver = true;
    this.#connectedAtMs = Date.now();
    this.#onSetupOver(isReady);
  }

  // SessionHooks: the life after the set-up.

  async quiesce(byPeer: boolean): Promise<void> {
    const responder = this.#responder;
    if (responder === undefined) return;
    responder.refuseNew();
    if (!byPeer) await within(responder.finished(), this.#host.options.closeTimeoutMs);
    responder.abortAll(drainingError());
  }

  async teardown(error: VerbenaError): Promise<void> {
    this.#responder?.shutdown(error);
    await this.#undo.run();
  }

  queuePairState(): string | undefined {
    return this.#agreement?.resources.endpoint.qp.state();
  }

  onDrain(): void {
    throw new VerbenaError('ERR_VERBENA_UNEXPECTED_MESSAGE', 'only a server drains');
  }
}

/** What the client is told: device refusals are exhaustion, everything unforeseen is internal. */
function toRefusal(thrown: unknown): VerbenaError {
  const error = toVerbenaError(thrown, 'ERR_VERBENA_INTERNAL');
  const isExhausted =
    exhaustion.has(errnoNameOf(thrown)) || exhaustion.has(errnoNameOf(error.cause));
  if (error.code !== 'ERR_VERBENA_NO_MEMORY' && !isExhausted) return error;
  return new VerbenaError(
    'ERR_VERBENA_RESOURCE_EXHAUSTED',
    `the server's device has no room for another client (${error.message})`,
    { cause: thrown, retryAfterMs: RETRY_AFTER_MS },
  );
}

function errnoNameOf(thrown: unknown): unknown {
  return thrown instanceof Error && 'errnoName' in thrown ? thrown.errnoName : undefined;
}
