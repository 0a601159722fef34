// One client on the server: its set-up step by step, its life, and the undoing of every step
// whatever ends it. Its queue pair and its requests are its data half's; see `SessionData`.
import { EventEmitter } from 'node:events';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { UndoStack } from '../connection/undo-stack.js';
import { VerbenaError, toVerbenaError } from '../errors.js';
import { ControlChannel, type ControlListener } from '../handshake/control-channel.js';
import { ControlSession, type SessionHooks } from '../handshake/control-session.js';
import type { ControlMessage, Hello, Ready } from '../handshake/messages.js';
import { exportProofKey } from '../handshake/proof.js';
import type { PsnSet } from '../handshake/psn.js';
import { checkAlpn } from '../handshake/tls.js';
import type { OwnerNode } from '../rdma/registry.js';
import type { Place, PlacedControl } from '../workers/data-plane.js';
import { RETRY_AFTER_MS } from '../workers/device-refusal.js';
import type { Opened, SessionData } from '../workers/session-data.js';
import { familiesOf, type SessionPort } from '../workers/session-resources.js';
import type { Session, SessionEvents, SessionIdentity } from '../workers/session.js';
import type { ResolvedServerOptions } from './options.js';
import { drainingError, type AdmissionRefusal } from './refusal.js';
import type { SlotLine, SlotSeeker } from './slot-line.js';
import type { SlotMap } from './slot-map.js';

export type { Session, SessionEvents } from '../workers/session.js';

/** What a session needs of its server. */
export interface SessionHost extends SessionPort {
  readonly options: ResolvedServerOptions;
  readonly slots: SlotMap<ServerSession>;
  /** Where clients wait for a slot. */
  readonly line: SlotLine;
  readonly psns: PsnSet;
  /** What newcomers are told; undefined when they are welcome. */
  refusal(): VerbenaError | undefined;
  /** Finds a place for the data half of a session; throws when there is none. */
  place(session: ServerSession, identity: SessionIdentity): Place;
  /** What it has open, by what was made from what. */
  resourcesOf(owner: string): OwnerNode;
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
  readonly id: number;
  readonly name: string;
  readonly localPsn: number;
  readonly remotePsn: number;
  readonly worker: number | undefined;
  readonly data: SessionData;
}

export class ServerSession
  extends EventEmitter<SessionEvents>
  implements Session, ControlListener, PlacedControl, SessionHooks, SlotSeeker
{
  readonly remoteAddress: string;
  readonly #host: SessionHost;
  readonly #socket: TLSSocket;
  readonly #channel: ControlChannel;
  readonly #certificate: PeerCertificate | undefined;
  readonly #undo = new UndoStack();
  readonly #onSetupOver: (isReady: boolean) => void;
  /** What the client said, until it is its turn. */
  #heard: { readonly hello: Hello; readonly raw: Buffer } | undefined;
  /** As the client is told in the welcome; the server's own may change. */
  #timing = { keepaliveSec: 0, closeTimeoutMs: 0 };
  #isSetupOver = false;
  #connectedAtMs = 0;
  #agreement: Agreement | undefined;
  #opened: Pick<Opened, 'qpn' | 'owner'> | undefined;
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
    return this.#agreement?.id ?? 0;
  }

  get name(): string {
    return this.#agreement?.name ?? '';
  }

  get localPsn(): number {
    return this.#agreement?.localPsn ?? 0;
  }

  get remotePsn(): number {
    return this.#agreement?.remotePsn ?? 0;
  }

  get qpn(): number {
    return this.#opened?.qpn ?? 0;
  }

  /** Of its native objects in the registry. */
  get owner(): string {
    return this.#opened?.owner ?? '';
  }

  get requestsAnswered(): number {
    return this.#agreement?.data.requestsAnswered ?? 0;
  }

  get requestTimeMs(): number {
    return this.#agreement?.data.requestTimeMs ?? 0;
  }

  get connectedAtMs(): number {
    return this.#connectedAtMs;
  }

  get isOpen(): boolean {
    return this.#control?.isOpen ?? false;
  }

  get worker(): number | undefined {
    return this.#agreement?.worker;
  }

  get certificate(): PeerCertificate | undefined {
    return this.#certificate;
  }

  get requestsInWork(): number {
    return this.#agreement?.data.requestsInWork ?? 0;
  }

  get region(): Uint8Array {
    return this.#agreement?.data.region ?? new Uint8Array(0);
  }

  resources(): OwnerNode {
    return this.#host.resourcesOf(this.owner);
  }

  async close(): Promise<void> {
    await this.#control?.close('the server closed the session');
  }

  /** Like `close`, but gives requests in work up. */
  async closeNow(reason: VerbenaError): Promise<void> {
    this.#agreement?.data.giveUp(reason);
    if (this.#control !== undefined) await this.#control.close(reason.message);
    else await this.abort(reason);
  }

  /** Ends at once, without a word; resolves when everything is released. */
  async abort(reason: VerbenaError): Promise<void> {
    if (this.#control === undefined) this.failSetup(reason);
    else this.#control.abort(reason);
    await this.#release(reason);
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
    const isFirst = this.#heard === undefined && this.#agreement === undefined;
    if (message.type !== 'hello' || !isFirst) {
      throw new VerbenaError(
        'ERR_VERBENA_UNEXPECTED_MESSAGE',
        `a '${message.type}' message is not expected during the set-up`,
      );
    }
    this.#heard = { hello: message, raw };
    this.#attempt(() => {
      this.#checkWelcome();
      this.#host.line.arrive(this);
    });
  }

  onControlEnd(error: VerbenaError): void {
    if (this.#isSetupOver) return;
    this.#host.line.leave(this);
    this.#setupIsOver(false);
    void this.#release(error).then((failures) => this.#host.onSetupFailed(this, error, failures));
  }

  #checkWelcome(): void {
    const refusal = this.#host.refusal();
    if (refusal !== undefined) throw refusal;
  }

  // SlotSeeker: it said hello, and there may have been no slot then.

  onTurn(): void {
    this.#attempt(() => this.#welcome());
  }

  onTooLate(refusal: AdmissionRefusal): void {
    this.failSetup(refusal);
  }

  #attempt(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.failSetup(toVerbenaError(error, 'ERR_VERBENA_INTERNAL'));
    }
  }

  #welcome(): void {
    if (this.#heard === undefined) return;
    const { hello, raw: helloRaw } = this.#heard;
    this.#heard = undefined;
    this.#checkWelcome();
    this.#channel.allowLargeFrames();
    const { slots, psns, line } = this.#host;
    const id = this.#takeSlot(slots, line);
    psns.claim(hello.endpoint.psn);
    this.#undo.add(() => psns.free(hello.endpoint.psn));
    const localPsn = psns.draw();
    this.#undo.add(() => psns.free(localPsn));
    const proofKey = exportProofKey(this.#socket);
    const { name } = hello;
    const { remoteAddress, certificate } = this;
    const { keepaliveSec, closeTimeoutMs } = this.#host.options;
    this.#timing = { keepaliveSec, closeTimeoutMs };
    const place = this.#host.place(this, { name, remoteAddress, certificate });
    this.#agreement = { id, name, localPsn, remotePsn: hello.endpoint.psn, ...place };
    void place.data.open({ id, localPsn, hello, helloRaw, proofKey }).then(
      (opened) => this.#onOpened(opened),
      (error: unknown) => this.failSetup(toVerbenaError(error, 'ERR_VERBENA_INTERNAL')),
    );
  }

  #takeSlot(slots: SlotMap<ServerSession>, line: SlotLine): number {
    const id = slots.take(this);
    if (id === undefined) {
      throw new VerbenaError(
        'ERR_VERBENA_RESOURCE_EXHAUSTED',
        `all ${slots.capacity} connections of the server are taken`,
        { retryAfterMs: RETRY_AFTER_MS },
      );
    }
    this.#undo.add(() => {
      slots.free(id);
      line.onSlotFreed();
    });
    return id;
  }

  #onOpened(opened: Opened): void {
    if (this.#isSetupOver) return;
    const { qpn, owner, welcomeRaw } = opened;
    this.#opened = { qpn, owner };
    this.#channel.sendBody(welcomeRaw);
  }

  /** Frees everything, the data half first; resolves with what failed. Idempotent. */
  async #release(reason: VerbenaError): Promise<unknown[]> {
    const failures = (await this.#agreement?.data.close(reason)) ?? [];
    return [...failures, ...(await this.#undo.run())];
  }

  // SessionControl: what the data half tells.

  onProven(region: Ready['region']): void {
    if (this.#isSetupOver) return;
    this.#setupIsOver(true);
    this.#control = new ControlSession(this.#channel, this, this.#timing);
    void this.#control.ended.then(async (reason) => {
      this.#host.onSessionEnded(this, reason, await this.#release(reason));
    });
    this.#channel.send({ type: 'ready', ...(region === undefined ? {} : { region }) });
    this.#host.onSessionReady(this);
  }

  onUnproven(error: VerbenaError): void {
    this.failSetup(error);
  }

  onQueuePairFailed(error: VerbenaError): void {
    this.#host.onQueuePairFailed(error);
    if (this.#control === undefined) this.failSetup(error);
    else if (error.code === 'ERR_VERBENA_OVERUSE') this.#control.expel(error);
    else this.#control.queuePairFailed(error);
  }

  onHandlerError(error: unknown): void {
    this.#host.onHandlerError(this, error);
  }

  onDataLost(reason: VerbenaError): void {
    if (this.#control === undefined) this.failSetup(reason);
    else this.#control.expel(reason);
  }

  onCloseWish(): void {
    void this.close();
  }

  onImmediate(value: number, byteLength: number): void {
    this.emit('immediate', value, byteLength);
  }

  #setupIsOver(isReady: boolean): void {
    this.#isSetupOver = true;
    this.#connectedAtMs = Date.now();
    this.#onSetupOver(isReady);
  }

  // SessionHooks: the life after the set-up.

  async quiesce(byPeer: boolean): Promise<void> {
    await this.#agreement?.data.quiesce(byPeer, drainingError());
  }

  async teardown(error: VerbenaError): Promise<void> {
    await this.#release(error);
  }

  async queuePairState(): Promise<string | undefined> {
    return this.#agreement?.data.queuePairState();
  }

  onDrain(): void {
    throw new VerbenaError('ERR_VERBENA_UNEXPECTED_MESSAGE', 'only a server drains');
  }
}
