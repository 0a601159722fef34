// The orders that a client process takes, what each resolves with, and what it tells unasked.
import type { LiveObjects } from '../processes/live-objects.js';
import type { Usage } from './usage.js';
import type { WorkOrders } from './work.js';

/** How a client reaches the server. */
export interface Target {
  readonly device: string;
  readonly host: string;
  readonly port: number;
  readonly ca: string | undefined;
  readonly rejectUnauthorized: boolean;
  readonly handshakeTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly closeTimeoutMs: number;
}

/** How far a set-up goes before the client stands still. */
export const setupStages = ['tcp', 'tls', 'welcome', 'proof', 'ready'] as const;
export type SetupStage = (typeof setupStages)[number];

/** Work that goes on until it is stopped. */
export type LoopKind = 'everything' | 'requesting' | 'reading' | 'writing';

export interface Refusal {
  readonly code: string;
  readonly message: string;
}

export interface Connected {
  /** How long each set-up that succeeded took. */
  readonly setupMs: readonly number[];
  readonly refusals: readonly Refusal[];
}

/** The account of a process that leaves. */
export interface Farewell {
  /** What could not be closed. */
  readonly failure: string | undefined;
  readonly requests: number;
  readonly bytesVerified: number;
  readonly live: LiveObjects;
}

/** Name of each order → what it is given, what it resolves with (`unknown`: nothing of use). */
export interface Orders {
  start: [Target & { readonly name: string }, unknown];
  /** Opens so many connections at once. */
  connect: [{ readonly count: number }, Connected];
  /** Each connection does all of the work, all at the same time. */
  work: [WorkOrders, unknown];
  /** Starts a loop on each connection, with a rest between rounds. */
  loop: [{ readonly kind: LoopKind; readonly restMs: number }, unknown];
  /** Ends the loops; rejects with what failed in one. */
  stop: [undefined, unknown];
  /** Closes so many connections. */
  close: [{ readonly count: number }, unknown];
  /** Connects, works and closes, so many times or until the time is over. */
  cycle: [WorkOrders & { readonly count: number; readonly forMs: number }, unknown];
  usage: [undefined, Usage];
  /** Goes as far as the stage and stands still. */
  stall: [{ readonly stage: SetupStage }, unknown];
  /** Opens a connection and cuts its TLS channel while the queue pair lives. */
  cut: [undefined, unknown];
  /** Opens a connection and writes outside its region. */
  trespass: [undefined, unknown];
  /** Resolves with the code with which a connection ended that this client did not close. */
  outcome: [undefined, string];
  /** Closes everything; the process ends. */
  leave: [undefined, Farewell];
}

export type OrderName = keyof Orders;

export type ToClient = {
  readonly [N in OrderName]: {
    readonly id: number;
    readonly name: N;
    readonly args: Orders[N][0];
  };
}[OrderName];

/** First packet sequence numbers of a session, as its client sees them. */
export interface PsnPair {
  readonly localPsn: number;
  readonly remotePsn: number;
}

export type FromClient =
  | { readonly type: 'done'; readonly id: number; readonly result: unknown }
  | { readonly type: 'failed'; readonly id: number; readonly message: string }
  | ({ readonly type: 'connected'; readonly device: string } & PsnPair)
  | ({ readonly type: 'leaving' } & PsnPair)
  /** A connection ended that this client did not close. */
  | { readonly type: 'lost'; readonly code: string; readonly message: string };
