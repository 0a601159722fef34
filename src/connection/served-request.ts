// One request on the server: what the handler sees of it, and what else the responder must know.
import type { VerbenaError } from '../errors.js';
import { TIMED, type MessageHeader } from './header.js';
import { encodeHandlerTime } from './request-phases.js';

export const NO_PAYLOAD = new Uint8Array(0);

/** A request as the handler sees it. */
export interface IncomingRequest<Session> {
  /** The request's bytes; they belong to the handler. */
  readonly payload: Uint8Array;
  /** What the client gave as `method`; 0 when it gave none. */
  readonly method: number;
  /**
   * Aborted when the client cancels, the request times out or the session ends; its result is then
   * ignored.
   */
  readonly signal: AbortSignal;
  readonly session: Session;
}

/** A response, or nothing for an empty one. */
// eslint-disable-next-line @typescript-eslint/no-invalid-void-type -- a handler may just end
export type HandlerResult = Uint8Array | undefined | void;

/** What it returns is the response; the bytes must not change until they are sent. */
export type RequestHandler<Session> = (
  request: IncomingRequest<Session>,
) => HandlerResult | Promise<HandlerResult>;

/** What the header of an answer says about the time of the handler. */
export interface AnswerTiming {
  readonly flags: number;
  readonly word: number;
}

const UNTIMED: AnswerTiming = { flags: 0, word: 0 };

export class ServedRequest<Session> implements IncomingRequest<Session> {
  readonly session: Session;
  readonly method: number;
  payload: Uint8Array = NO_PAYLOAD;
  readonly #id: number;
  readonly #deadline: number;
  readonly #isTimed: boolean;
  readonly #bytes: number;
  #handlerMs = 0;
  #controller: AbortController | undefined;
  #abortReason: VerbenaError | undefined;

  constructor(session: Session, header: MessageHeader, bytes: number, deadline: number) {
    this.session = session;
    this.#id = header.id;
    this.method = header.word;
    this.#isTimed = (header.flags & TIMED) !== 0;
    this.#bytes = bytes;
    this.#deadline = deadline;
  }

  // Made on demand: most handlers never look.
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason);
    }
    return this.#controller.signal;
  }

  static idOf(request: ServedRequest<unknown>): number {
    return request.#id;
  }

  static deadlineOf(request: ServedRequest<unknown>): number {
    return request.#deadline;
  }

  /** Of its payload, whether that has arrived or not. */
  static bytesOf(request: ServedRequest<unknown>): number {
    return request.#bytes;
  }

  /** Runs the handler; measures it when the client asked for that. */
  static handle<Session>(
    request: ServedRequest<Session>,
    handler: RequestHandler<Session>,
  ): HandlerResult | Promise<HandlerResult> {
    if (!request.#isTimed) return handler(request);
    const startedMs = performance.now();
    const note = (): void => {
      request.#handlerMs = performance.now() - startedMs;
    };
    const result = handler(request);
    if (result instanceof Promise) return result.finally(note);
    note();
    return result;
  }

  /** Flags and word of its answer. */
  static timing(request: ServedRequest<unknown>): AnswerTiming {
    if (!request.#isTimed) return UNTIMED;
    return { flags: TIMED, word: encodeHandlerTime(request.#handlerMs) };
  }

  static abort(request: ServedRequest<unknown>, reason: VerbenaError): void {
    request.#abortReason = reason;
    request.#controller?.abort(reason);
  }
}

/** Anything with a `then`, as `await` sees it. */
export function isPromise(result: unknown): result is PromiseLike<HandlerResult> {
  if (result instanceof Uint8Array || typeof result !== 'object' || result === null) return false;
  return 'then' in result && typeof result.then === 'function';
}
