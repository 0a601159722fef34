// The two halves of a session: what the control half (TLS, slot, admission) asks of the data half,
// which lives in the thread that polls its completions, and what it hears from it.
import type { VerbenaError } from '../errors.js';
import type { Ready } from '../handshake/messages.js';
import type { Admission } from './session-resources.js';

/** What the data half needs to make a queue pair and to tell whether its peer is the client. */
export interface OpenOrder extends Admission {
  /** The body of the `hello`, as the proofs cover it. */
  readonly helloRaw: Uint8Array;
  /** From `exportProofKey`. */
  readonly proofKey: Uint8Array;
}

/** There is a queue pair, ready to receive: the client may be welcomed. */
export interface Opened {
  /** The body of the `welcome`, as the proofs cover it. */
  readonly welcomeRaw: Uint8Array;
  readonly qpn: number;
  /** Of its native objects in the registry. */
  readonly owner: string;
}

/** The data half, in this thread or in a worker. */
export interface SessionData {
  /** Requests whose handler has not answered. */
  readonly requestsInWork: number;
  /** Requests taken and answered so far, and the time that they took together. */
  readonly requestsAnswered: number;
  readonly requestTimeMs: number;
  /** See `Session.region`. */
  readonly region: Uint8Array;
  /**
   * Makes everything, up to a queue pair that is ready to receive; called once. Rejects with what
   * the client is to be told; `close` follows in any case.
   */
  open(order: OpenOrder): Promise<Opened>;
  /** Takes no new requests, and gives up those in work. */
  giveUp(reason: VerbenaError): void;
  /**
   * Takes no new requests; resolves when those in work are finished or, after a limit, given up.
   * `byPeer`: the client has closed, and waits for nothing.
   */
  quiesce(byPeer: boolean, reason: VerbenaError): Promise<void>;
  /** The state that the device reports for the queue pair. */
  queuePairState(): Promise<string | undefined>;
  /** Releases everything; resolves with what failed. Idempotent, and possible at any time. */
  close(reason: VerbenaError): Promise<unknown[]>;
}

/** The control half, as the data half sees it. */
export interface SessionControl {
  /** The client has proven that the queue pair belongs to its TLS session, and is served now. */
  onProven(region: Ready['region']): void;
  /** It has not. */
  onUnproven(error: VerbenaError): void;
  /** The queue pair broke; at most once. */
  onQueuePairFailed(error: VerbenaError): void;
  /** A handler threw something that is not a RequestError, or returned what is no response. */
  onHandlerError(error: unknown): void;
  /** The client wrote with an immediate. */
  onImmediate(value: number, byteLength: number): void;
}
