// What the main thread and a worker say to each other; plain data, in order, both ways.
import type { Ready } from '../handshake/messages.js';
import type { DeviceOptions } from '../rdma/device.js';
import type { SessionDataOptions } from './local-session-data.js';
import type { WorkerReport } from './report.js';
import type { SessionIdentity } from './session.js';
import type { OpenOrder, Opened } from './session-data.js';
import type { PackedError } from './thrown.js';

/** What a worker starts with. */
export interface WorkerOrders {
  readonly index: number;
  readonly ownerPrefix: string;
  readonly device: DeviceOptions;
  /** Port of the device. */
  readonly port: number;
  readonly options: SessionDataOptions;
  /** URL of the handler's module. */
  readonly handler: string;
  /** Answers that may wait to be sent; beyond, requests are refused. */
  readonly senderChannelSize: number;
  /** The processor that the worker is bound to, if any. */
  readonly processor: number | undefined;
  /** What the main thread reads without asking; see `LiveWord`. */
  readonly live: SharedArrayBuffer;
}

/** Words (32 bits) of the memory that a worker shares with the main thread. */
export const LiveWord = {
  /** Written by the worker: requests taken and not answered. */
  requestsInWork: 0,
  /** Written by the main thread: how many there may be. */
  channelSize: 1,
  /** Whether connections with far more than the others are refused more. */
  isShedding: 2,
} as const;
export const LIVE_WORDS = 3;

/** What is asked of a worker and answered: once, unless the worker ends before. */
export type WorkerCall =
  | {
      readonly type: 'open';
      readonly order: OpenOrder;
      readonly identity: SessionIdentity;
    }
  | {
      readonly type: 'quiesce';
      readonly id: number;
      readonly byPeer: boolean;
      readonly reason: PackedError;
    }
  | { readonly type: 'queuePairState'; readonly id: number }
  | { readonly type: 'close'; readonly id: number; readonly reason: PackedError }
  /** `withObjects`: every native object, not only how many there are. */
  | { readonly type: 'report'; readonly withObjects: boolean }
  | { readonly type: 'stop' };

export type ToWorker =
  | { readonly type: 'call'; readonly number: number; readonly call: WorkerCall }
  /** For sessions that are opened from now on. */
  | { readonly type: 'options'; readonly options: SessionDataOptions }
  | { readonly type: 'giveUp'; readonly id: number; readonly reason: PackedError };

/** What a session did so far. */
export interface SessionFigures {
  readonly requestsInWork: number;
  readonly requestsAnswered: number;
  readonly requestTimeMs: number;
}

/** Steps that failed, and what the session did in all. */
export interface ClosedSession {
  readonly failures: readonly PackedError[];
  readonly figures: SessionFigures;
}

/** What a worker tells of a session unasked. */
export type SessionNews =
  | { readonly type: 'proven'; readonly region: Ready['region'] }
  | { readonly type: 'unproven'; readonly error: PackedError }
  | { readonly type: 'queuePairFailed'; readonly error: PackedError }
  | { readonly type: 'handlerError'; readonly error: PackedError }
  /** Its handler wants to close it. */
  | { readonly type: 'closeWish' };

export type FromWorker =
  /** The device is open and the handler loaded. */
  | { readonly type: 'ready' }
  /** They are not; the worker ends. */
  | { readonly type: 'unusable'; readonly error: PackedError }
  | { readonly type: 'answer'; readonly number: number; readonly value: unknown }
  | { readonly type: 'refusal'; readonly number: number; readonly error: PackedError }
  | { readonly type: 'session'; readonly id: number; readonly news: SessionNews };

/** The answer to each call. */
export interface WorkerAnswers {
  readonly open: Opened;
  readonly quiesce: undefined;
  readonly queuePairState: string | undefined;
  readonly close: ClosedSession;
  readonly report: WorkerReport;
  readonly stop: readonly PackedError[];
}
