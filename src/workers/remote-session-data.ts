// The data half of a session in a worker, as the control half in the main thread has it.
import { within } from '../connection/within.js';
import type { VerbenaError } from '../errors.js';
import type { SessionFigures, SessionNews, WorkerAnswers } from './messages.js';
import type { OpenOrder, Opened, SessionControl, SessionData } from './session-data.js';
import type { SessionIdentity } from './session.js';
import { packError, unpackError, unpackVerbenaError } from './thrown.js';
import type { WorkerLink } from './worker-link.js';

/** A peer waits for the state of a failed queue pair; a worker that is busy is not waited for. */
const STATE_TIMEOUT_MS = 100;
const noFigures: SessionFigures = { requestsInWork: 0, requestsAnswered: 0, requestTimeMs: 0 };
const noRegion = new Uint8Array(0);

export interface RemoteSessionOptions {
  readonly link: WorkerLink;
  readonly identity: SessionIdentity;
  readonly control: SessionControl & RemoteSessionControl;
  /** Limit of `quiesce`, which the worker keeps unless it is stuck. */
  readonly quiesceTimeoutMs: number;
  /** Called once, with everything released. */
  readonly onClosed: () => void;
}

/** What the control half hears of a data half in a worker besides. */
export interface RemoteSessionControl {
  /** The worker is gone, and everything of the session there. */
  onDataLost(reason: VerbenaError): void;
  /** A handler asks to close the session. */
  onCloseWish(): void;
}

export class RemoteSessionData implements SessionData {
  readonly #options: RemoteSessionOptions;
  #id = 0;
  #figures = noFigures;
  #closing: Promise<unknown[]> | undefined;

  constructor(options: RemoteSessionOptions) {
    this.#options = options;
  }

  /** 0 before `open`. */
  get id(): number {
    return this.#id;
  }

  get requestsInWork(): number {
    return this.#figures.requestsInWork;
  }

  get requestsAnswered(): number {
    return this.#figures.requestsAnswered;
  }

  get requestTimeMs(): number {
    return this.#figures.requestTimeMs;
  }

  get region(): Uint8Array {
    return noRegion;
  }

  open(order: OpenOrder): Promise<Opened> {
    const { link, identity } = this.#options;
    this.#id = order.id;
    return link.call({ type: 'open', order, identity });
  }

  giveUp(reason: VerbenaError): void {
    this.#options.link.send({ type: 'giveUp', id: this.#id, reason: packError(reason) });
  }

  async quiesce(byPeer: boolean, reason: VerbenaError): Promise<void> {
    const { link, quiesceTimeoutMs } = this.#options;
    const call = { type: 'quiesce', id: this.#id, byPeer, reason: packError(reason) } as const;
    await within(link.call(call).catch(ignoreLoss), quiesceTimeoutMs);
  }

  async queuePairState(): Promise<string | undefined> {
    let state: string | undefined;
    const asked = this.#options.link
      .call({ type: 'queuePairState', id: this.#id })
      .then((answer) => (state = answer))
      .catch(ignoreLoss);
    await within(asked, STATE_TIMEOUT_MS);
    return state;
  }

  close(reason: VerbenaError): Promise<unknown[]> {
    this.#closing ??= this.#close(reason);
    return this.#closing;
  }

  async #close(reason: VerbenaError): Promise<unknown[]> {
    const { link, onClosed } = this.#options;
    let closed: WorkerAnswers['close'] | undefined;
    // Never opened, so the worker knows nothing of it.
    if (this.#id !== 0) {
      const call = { type: 'close', id: this.#id, reason: packError(reason) } as const;
      closed = await link.call(call).catch(ignoreLoss);
    }
    this.#figures = { ...(closed?.figures ?? this.#figures), requestsInWork: 0 };
    onClosed();
    return (closed?.failures ?? []).map(unpackError);
  }

  // What the worker tells.

  onFigures(figures: SessionFigures): void {
    if (this.#closing === undefined) this.#figures = figures;
  }

  onNews(news: SessionNews): void {
    const { control } = this.#options;
    if (this.#closing !== undefined) return;
    switch (news.type) {
      case 'proven':
        control.onProven(news.region);
        return;
      case 'unproven':
        control.onUnproven(unpackVerbenaError(news.error));
        return;
      case 'queuePairFailed':
        control.onQueuePairFailed(unpackVerbenaError(news.error));
        return;
      case 'handlerError':
        control.onHandlerError(unpackError(news.error));
        return;
      case 'closeWish':
        control.onCloseWish();
    }
  }

  onWorkerLost(reason: VerbenaError): void {
    if (this.#closing === undefined) this.#options.control.onDataLost(reason);
  }
}

/** A worker that is gone has released everything; whoever has to know of it is told otherwise. */
function ignoreLoss(): undefined {
  return undefined;
}
