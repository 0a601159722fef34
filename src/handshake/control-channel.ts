// The TLS side of a connection: control messages in and out, keepalive, and one report of its end.
import type { TLSSocket } from 'node:tls';
import { VerbenaError, messageOf, toVerbenaError } from '../errors.js';
import { FIRST_FRAME_BYTES, FrameReader, MAX_FRAME_BYTES, encodeFrame } from './frame.js';
import {
  encodeMessage,
  parseMessage,
  rejectCodeOf,
  type ControlMessage,
  type Reject,
} from './messages.js';

/** A peer that does not read its control messages is cut off beyond this. */
const MAX_UNSENT_BYTES = 256 * 1024;
/** How long a socket may linger so that the peer can read the last message. */
const LINGER_MS = 500;
const MAX_TEXT = 1024;
const LOOKS_PER_PERIOD = 3;

/** What went wrong inside is nothing for a stranger. */
const publicTexts: Readonly<Record<string, string>> = {
  INTERNAL: 'an internal failure',
  WORKER_LOST: 'the worker that served this client is gone; connect again',
};

export interface ControlListener {
  /** May throw a VerbenaError to refuse the peer. `raw` is the body as received. */
  onControlMessage(message: ControlMessage, raw: Buffer): void;
  /** Exactly once, when the channel is of no more use, unless this side ended it. */
  onControlEnd(error: VerbenaError): void;
}

export class ControlChannel {
  readonly socket: TLSSocket;
  listener: ControlListener;
  readonly #reader = new FrameReader(FIRST_FRAME_BYTES);
  #ended = false;
  /** Whether anything arrived since the last look, and for how many looks nothing has. */
  #heard = false;
  #silentLooks = 0;
  #keepalive: NodeJS.Timeout | undefined;

  /** `socket` has finished its TLS handshake. */
  constructor(socket: TLSSocket, listener: ControlListener) {
    this.socket = socket;
    this.listener = listener;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', (cause: Error) => this.#lost(cause));
    socket.on('end', () => this.#lost());
    socket.on('close', () => this.#lost());
  }

  get isEnded(): boolean {
    return this.#ended;
  }

  /** After `hello`, or for a client from the start: frames of the full size. */
  allowLargeFrames(): void {
    this.#reader.maxBytes = MAX_FRAME_BYTES;
  }

  /** Sends a message; returns its raw body. After the end it goes nowhere. */
  send(message: ControlMessage): Buffer {
    const body = encodeMessage(message);
    this.sendBody(body);
    return body;
  }

  /** Like `send`, for a message that is encoded already. */
  sendBody(body: Uint8Array): void {
    if (this.#ended) return;
    this.socket.write(encodeFrame(body));
    if (this.socket.writableLength > MAX_UNSENT_BYTES) {
      this.#fail(
        new VerbenaError(
          'ERR_VERBENA_CONNECTION_LOST',
          'the peer does not read its control channel',
        ),
      );
    }
  }

  /**
   * Sends a keepalive three times per period, and ends the channel when a whole period passes in
   * silence.
   */
  startKeepalive(keepaliveSec: number): void {
    const betweenMs = (keepaliveSec * 1000) / LOOKS_PER_PERIOD;
    let dueAt = performance.now() + betweenMs;
    const look = (): void => {
      // Looks are counted, not time: a loop that was blocked has not listened meanwhile.
      this.#silentLooks = this.#heard ? 0 : this.#silentLooks + 1;
      this.#heard = false;
      if (this.#silentLooks < LOOKS_PER_PERIOD) {
        this.send({ type: 'keepalive' });
        const now = performance.now();
        // One that was late does not make those after it late, but there is time to listen.
        dueAt = Math.max(dueAt + betweenMs, now + betweenMs / 2);
        this.#keepalive = setTimeout(look, dueAt - now);
        return;
      }
      this.#fail(
        new VerbenaError(
          'ERR_VERBENA_KEEPALIVE_TIMEOUT',
          `nothing was heard from the peer for ${keepaliveSec} s; it is stopped or cut off`,
        ),
      );
    };
    this.#keepalive = setTimeout(look, betweenMs);
  }

  /** Refuses the peer with the error's code and ends; the listener is not told. */
  refuse(error: VerbenaError, extra: Partial<Reject> = {}): void {
    if (this.#ended) return;
    const code = rejectCodeOf(error);
    this.send({
      type: 'reject',
      code,
      message: publicTexts[code] ?? error.message.slice(0, MAX_TEXT),
      ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
      ...extra,
    });
    this.end();
  }

  /** Ends in order: what was sent arrives, then the socket goes. The listener is not told. */
  end(): void {
    if (!this.#finish()) return;
    const timer = setTimeout(() => this.socket.destroy(), LINGER_MS);
    this.socket.once('close', () => clearTimeout(timer));
    this.socket.end();
  }

  /** Ends at once; the listener is not told. */
  destroy(): void {
    this.#finish();
    this.socket.destroy();
  }

  #onData(chunk: Buffer): void {
    if (this.#ended) return;
    this.#heard = true;
    try {
      this.#reader.push(chunk, (body) => {
        this.listener.onControlMessage(parseMessage(body), body);
        return !this.#ended;
      });
    } catch (thrown) {
      const error = toVerbenaError(thrown, 'ERR_VERBENA_INTERNAL');
      const { listener } = this;
      const wasOpen = !this.isEnded;
      this.refuse(error);
      if (wasOpen) listener.onControlEnd(error);
    }
  }

  #lost(cause?: Error): void {
    this.#fail(
      new VerbenaError(
        'ERR_VERBENA_CONNECTION_LOST',
        'the control channel ended without the closing exchange' +
          (cause === undefined
            ? ': the peer died or aborted'
            : ` (${messageOf(cause)}): the peer died or the network failed`),
        { cause },
      ),
    );
  }

  #fail(error: VerbenaError): void {
    if (!this.#finish()) return;
    this.socket.destroy();
    this.listener.onControlEnd(error);
  }

  #finish(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    clearTimeout(this.#keepalive);
    return true;
  }
}
