// The life of an established connection on the control channel: keepalive, drain, the three-way
// close and every other end.
//
// Either side closes: `bye` says that it has finished its work, `bye-ack` that the other has too,
// `bye-done` that the first side's queue pair is gone. An end of the channel before that is an
// abort.
import { VerbenaError, type VerbenaErrorCode } from '../errors.js';
import type { ControlChannel, ControlListener } from './control-channel.js';
import type { ControlMessage, QpErrorMessage } from './messages.js';
import { explainFailure, peerQueuePairError } from './peer-view.js';

/** How long the peer may take to say what it saw of a failed queue pair. */
const PEER_VIEW_MS = 200;

/** Why a server ends a session that it has, as the client is told. */
const expulsions: Readonly<Record<string, VerbenaErrorCode>> = {
  OVERUSE: 'ERR_VERBENA_OVERUSE',
  WORKER_LOST: 'ERR_VERBENA_WORKER_LOST',
};

/** What the owner of the queue pair does for the session. */
export interface SessionHooks {
  /**
   * Takes no new work; resolves when the work in flight is finished or given up. `byPeer`: the peer
   * closes.
   */
  quiesce(byPeer: boolean): Promise<void>;
  /**
   * Fails what is still pending with `error`, at once, then destroys the queue pair. Called once;
   * does not reject.
   */
  teardown(error: VerbenaError): Promise<void>;
  /** The state that the device reports for the queue pair. */
  queuePairState(): Promise<string | undefined>;
  /** The server wants this client to finish and leave within `timeoutMs`. */
  onDrain(timeoutMs: number): void;
}

export interface ControlSessionOptions {
  readonly keepaliveSec: number;
  /** Limit of each step of the closing exchange. */
  readonly closeTimeoutMs: number;
}

type Phase = 'open' | 'closing' | 'ended';

export class ControlSession implements ControlListener {
  readonly #channel: ControlChannel;
  readonly #hooks: SessionHooks;
  readonly #closeTimeoutMs: number;
  #phase: Phase = 'open';
  #quiesced: Promise<void> | undefined;
  #byeSent = false;
  #byeReceived = false;
  #ackSent = false;
  #qpErrorSent = false;
  #closeTimer: NodeJS.Timeout | undefined;
  #failure: VerbenaError | undefined;
  #resolveEnded!: (reason: VerbenaError) => void;

  /** Resolves with why the session ended, once the queue pair is gone. */
  readonly ended: Promise<VerbenaError>;

  constructor(channel: ControlChannel, hooks: SessionHooks, options: ControlSessionOptions) {
    this.#channel = channel;
    this.#hooks = hooks;
    this.#closeTimeoutMs = options.closeTimeoutMs;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    channel.listener = this;
    channel.startKeepalive(options.keepaliveSec);
  }

  get isOpen(): boolean {
    return this.#phase === 'open';
  }

  /** Asks the client to finish and leave. */
  sendDrain(timeoutMs: number): void {
    this.#channel.send({ type: 'drain', timeoutMs });
  }

  /** Closes in order; resolves when the queue pair is gone, whatever the peer does. Idempotent. */
  async close(reason: string): Promise<void> {
    if (this.#phase === 'open') {
      this.#phase = 'closing';
      await this.#quiesce(false);
      this.#sendBye(reason);
    }
    await this.ended;
  }

  // While closing, the phase changes under every await, so it is asked again.
  #isEnded(): boolean {
    return this.#phase === 'ended';
  }

  #sendBye(reason: string): void {
    // The peer's own bye, arrived meanwhile, is answered with an ack: one exchange is enough.
    if (this.#isEnded() || this.#byeReceived) return;
    this.#byeSent = true;
    this.#channel.send({ type: 'bye', reason: reason.slice(0, 1024) });
    this.#armCloseTimer('confirm the close');
  }

  /** Ends at once: the queue pair goes to ERR, the socket is destroyed. */
  abort(error: VerbenaError): void {
    if (this.#isEnded()) return;
    this.#channel.destroy();
    this.#finish(error);
  }

  /** Ends at once, and tells the peer why. */
  expel(error: VerbenaError): void {
    if (this.#isEnded()) return;
    this.#channel.refuse(error);
    this.#finish(error);
  }

  /** The queue pair failed here: tells the peer, hears what it saw, then ends with both views. */
  queuePairFailed(error: VerbenaError): void {
    if (this.#isEnded() || this.#failure !== undefined) return;
    this.#phase = 'closing';
    this.#failure = error;
    void this.#sendQpError(error);
    this.#setTimer(PEER_VIEW_MS, () =>
      this.#endFailed(`; the peer did not say within ${PEER_VIEW_MS} ms what it saw`),
    );
  }

  onControlMessage(message: ControlMessage): void {
    switch (message.type) {
      case 'keepalive':
        return;
      case 'drain':
        this.#hooks.onDrain(message.timeoutMs);
        return;
      case 'bye':
        void this.#onBye();
        return;
      case 'bye-ack':
        this.#expect(this.#byeSent, message);
        this.#leave(closedHere(), true);
        return;
      case 'bye-done':
        this.#expect(this.#ackSent, message);
        this.#leave(closedByPeer(), false);
        return;
      case 'qp-error':
        void this.#onQpError(message);
        return;
      case 'reject':
        this.#channel.destroy();
        this.#finish(
          new VerbenaError(
            expulsions[message.code] ?? 'ERR_VERBENA_CONNECTION_LOST',
            `the peer ended the connection (${message.code}): ${message.message}`,
          ),
        );
        return;
      case 'hello':
      case 'welcome':
      case 'ready':
        this.#expect(false, message);
    }
  }

  onControlEnd(error: VerbenaError): void {
    if (this.#failure !== undefined) {
      this.#endFailed('; the peer closed its control channel');
      return;
    }
    // The peer may drop the socket right after its bye-done, or die once both sides had finished
    // their work.
    this.#finish(this.#ackSent ? closedByPeer() : error);
  }

  #expect(condition: boolean, message: ControlMessage): void {
    if (condition) return;
    throw new VerbenaError(
      'ERR_VERBENA_UNEXPECTED_MESSAGE',
      `a '${message.type}' message is not expected now`,
    );
  }

  async #onBye(): Promise<void> {
    this.#byeReceived = true;
    if (this.#phase === 'open') this.#phase = 'closing';
    if (this.#failure !== undefined) return;
    await this.#quiesce(true);
    if (this.#isEnded() || this.#ackSent) return;
    this.#ackSent = true;
    this.#channel.send({ type: 'bye-ack' });
    this.#armCloseTimer('finish the close');
  }

  #quiesce(byPeer: boolean): Promise<void> {
    this.#quiesced ??= this.#hooks.quiesce(byPeer);
    return this.#quiesced;
  }

  /** Both sides have finished: the queue pair goes, and, if asked, the peer is told so. */
  #leave(reason: VerbenaError, sayDone: boolean): void {
    if (this.#isEnded()) return;
    this.#end();
    void this.#hooks.teardown(reason).then(() => {
      if (sayDone) this.#channel.send({ type: 'bye-done' });
      this.#channel.end();
      this.#resolveEnded(reason);
    });
  }

  #finish(reason: VerbenaError): void {
    if (this.#isEnded()) return;
    this.#end();
    void this.#hooks.teardown(reason).then(() => this.#resolveEnded(reason));
  }

  #end(): void {
    this.#phase = 'ended';
    clearTimeout(this.#closeTimer);
  }

  async #onQpError(view: QpErrorMessage): Promise<void> {
    if (this.#failure !== undefined) {
      this.#endFailed(explainFailure(this.#failure.wcStatus, view));
      return;
    }
    const error = peerQueuePairError(view);
    await this.#sendQpError(error);
    this.#channel.end();
    this.#finish(error);
  }

  async #sendQpError(error: VerbenaError): Promise<void> {
    if (this.#qpErrorSent) return;
    this.#qpErrorSent = true;
    const state = await this.#hooks.queuePairState();
    const own = error.code !== 'ERR_VERBENA_PEER_QP_ERROR' ? error.wcStatus : undefined;
    this.#channel.send({
      type: 'qp-error',
      ...(state === undefined ? {} : { state }),
      ...(own === undefined ? {} : { status: own }),
      message: error.message.slice(0, 1024),
    });
  }

  #endFailed(addition: string): void {
    const failure = this.#failure;
    if (failure === undefined || this.#isEnded()) return;
    this.#channel.end();
    this.#finish(
      new VerbenaError(failure.code, failure.message + addition, {
        cause: failure.cause,
        wcStatus: failure.wcStatus,
      }),
    );
  }

  #armCloseTimer(what: string): void {
    this.#setTimer(this.#closeTimeoutMs, () => {
      this.abort(
        new VerbenaError(
          'ERR_VERBENA_CONNECTION_LOST',
          `the peer did not ${what} within ${this.#closeTimeoutMs} ms`,
        ),
      );
    });
  }

  #setTimer(delayMs: number, action: () => void): void {
    clearTimeout(this.#closeTimer);
    this.#closeTimer = setTimeout(action, delayMs);
  }
}

/** This side closed, and the exchange was completed. */
export function closedHere(): VerbenaError {
  return new VerbenaError('ERR_VERBENA_CONNECTION_CLOSED', 'the connection is closed');
}

function closedByPeer(): VerbenaError {
  return new VerbenaError('ERR_VERBENA_PEER_CLOSED', 'the peer closed the connection');
}
