// A session as handlers in a worker see it; what it tells goes to the control half in the main
// thread.
import { EventEmitter } from 'node:events';
import type { PeerCertificate } from 'node:tls';
import type { VerbenaError } from '../errors.js';
import type { Ready } from '../handshake/messages.js';
import type { OwnerNode } from '../rdma/registry.js';
import { LocalSessionData, type SessionDataHost } from './local-session-data.js';
import type { ClosedSession, SessionFigures, SessionNews } from './messages.js';
import type { OpenOrder, Opened, SessionControl } from './session-data.js';
import type { Session, SessionEvents, SessionIdentity } from './session.js';
import { packError } from './thrown.js';

export interface WorkerSessionOptions {
  readonly host: SessionDataHost<Session>;
  readonly worker: number;
  readonly order: OpenOrder;
  readonly identity: SessionIdentity;
  readonly tell: (news: SessionNews) => void;
  /** A handler threw something that is not a RequestError. */
  readonly onHandlerError: (error: unknown) => void;
}

export class WorkerSession extends EventEmitter<SessionEvents> implements Session, SessionControl {
  readonly data: LocalSessionData<Session>;
  readonly #options: WorkerSessionOptions;
  readonly #closed: Promise<void>;
  #opened: Opened | undefined;
  #isOpen = false;
  #connectedAtMs = 0;
  #resolveClosed!: () => void;

  constructor(options: WorkerSessionOptions) {
    super();
    this.#options = options;
    this.data = new LocalSessionData<Session>(options.host, this, this);
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  get id(): number {
    return this.#options.order.id;
  }

  get name(): string {
    return this.#options.identity.name;
  }

  get remoteAddress(): string {
    return this.#options.identity.remoteAddress;
  }

  get certificate(): PeerCertificate | undefined {
    return this.#options.identity.certificate;
  }

  get localPsn(): number {
    return this.#options.order.localPsn;
  }

  get remotePsn(): number {
    return this.#options.order.hello.endpoint.psn;
  }

  get qpn(): number {
    return this.#opened?.qpn ?? 0;
  }

  get worker(): number {
    return this.#options.worker;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get connectedAtMs(): number {
    return this.#connectedAtMs;
  }

  get requestsInWork(): number {
    return this.data.requestsInWork;
  }

  get requestsAnswered(): number {
    return this.data.requestsAnswered;
  }

  get requestTimeMs(): number {
    return this.data.requestTimeMs;
  }

  get region(): Uint8Array {
    return this.data.region;
  }

  get figures(): SessionFigures {
    const { requestsInWork, requestsAnswered, requestTimeMs } = this;
    return { requestsInWork, requestsAnswered, requestTimeMs };
  }

  resources(): OwnerNode {
    const [tree] = this.#options.host.device.registry.tree([this.#opened?.owner ?? '']);
    return tree as OwnerNode;
  }

  async open(): Promise<Opened> {
    this.#opened = await this.data.open(this.#options.order);
    return this.#opened;
  }

  async close(): Promise<void> {
    this.#options.tell({ type: 'closeWish' });
    await this.#closed;
  }

  /** What the control half asks for in the end. */
  async release(reason: VerbenaError): Promise<ClosedSession> {
    this.#isOpen = false;
    const failures = await this.data.close(reason);
    this.#resolveClosed();
    return { failures: failures.map((failure) => packError(failure)), figures: this.figures };
  }

  // SessionControl

  onProven(region: Ready['region']): void {
    this.#isOpen = true;
    this.#connectedAtMs = Date.now();
    this.#options.tell({ type: 'proven', region });
  }

  onUnproven(error: VerbenaError): void {
    this.#options.tell({ type: 'unproven', error: packError(error) });
  }

  onQueuePairFailed(error: VerbenaError): void {
    this.#isOpen = false;
    this.#options.tell({ type: 'queuePairFailed', error: packError(error) });
  }

  onHandlerError(error: unknown): void {
    this.#options.onHandlerError(error);
  }

  onImmediate(value: number, byteLength: number): void {
    this.emit('immediate', value, byteLength);
  }
}
