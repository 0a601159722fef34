// What a server offers to the program that runs it: its events, views, and what can be asked of it.
import type { EventEmitter } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { LoadChange } from '../admission/load-shedder.js';
import type { VerbenaError } from '../errors.js';
import type { DeviceCounters } from '../rdma/device-counters.js';
import type { Session } from '../workers/session.js';
import type { Capacity } from './capacity.js';
import type { ReloadOptions, ReloadResult } from './reload.js';
import type { ServerSnapshot, ServerState, ServerStats } from './views.js';

export interface ServerEvents {
  /** A client is connected. */
  session: [session: Session];
  /** A client is gone and everything of it released. `reason.code` says how it ended. */
  sessionEnd: [session: Session, reason: VerbenaError];
  /** A client was refused during its set-up. */
  refused: [error: VerbenaError];
  /** A handler threw what is not a RequestError; the client got a general error. */
  requestError: [session: Session, error: unknown];
  /**
   * The device's port went down, or is active again. Meanwhile newcomers are refused; sessions live
   * for as long as the device repeats what it sent.
   */
  port: [isActive: boolean];
  /** The server begins to shed load for want of a resource, or ends that. */
  load: [change: LoadChange];
  /**
   * A worker ended that nobody had stopped, or one could not be started in its place. Its sessions
   * are closed with ERR_VERBENA_WORKER_LOST, and it is replaced.
   */
  workerLost: [worker: number, reason: VerbenaError];
  /**
   * The server itself has a problem: the device or the listening socket failed, or a clean-up step
   * did.
   */
  error: [error: VerbenaError];
  /** Everything is released; the server is of no more use. */
  close: [];
}

/** A running server; see `createServer`. */
export interface Server extends EventEmitter<ServerEvents>, AsyncDisposable {
  /** Name of the device in use. */
  readonly deviceName: string;
  readonly state: ServerState;
  /** Clients that configuration, device and system allow, and each of their limits. */
  readonly capacity: Capacity;
  /** Where it listens for TLS. */
  address(): AddressInfo;
  /** Clients connected now. */
  sessions(): Session[];
  /** What exists now: sessions and every native object. */
  snapshot(): ServerSnapshot;
  /** What happened so far, in numbers. */
  stats(): ServerStats;
  /**
   * With workers, brings what `stats`, `snapshot` and sessions show of them up to date, as far as
   * they are not too busy to report; otherwise that is up to a second old, and objects are as old
   * as the last call that did not leave them out. Without workers there is nothing to do.
   */
  refresh(options?: { readonly objects?: boolean }): Promise<void>;
  /**
   * Ends one worker and starts it anew: no new clients for it, those connected are asked to finish
   * and leave, and those that do not within `timeoutMs` (default: `drainTimeoutMs`) are closed.
   * Resolves when the new one takes clients. Rejects with ERR_VERBENA_INVALID_OPTION when there is
   * no such worker.
   */
  drainWorker(worker: number, timeoutMs?: number): Promise<void>;
  /**
   * What the device counts itself, of all its users in this process (the soft device) or on this
   * machine, under its own names. Empty once the server is closed.
   */
  deviceCounters(): Promise<DeviceCounters>;
  /**
   * Changes options while the server runs: limits, thresholds, timeouts and certificates. What a
   * session was granted stays; new values count for clients that connect from now on. Options that
   * need another start are named and stay as they are. Throws, and changes nothing, when anything
   * is not allowed: ERR_VERBENA_INVALID_OPTION, ERR_VERBENA_TLS, ERR_VERBENA_CLOSED.
   */
  reload(changes: ReloadOptions): ReloadResult;
  /**
   * Refuses new clients, asks those connected to finish and leave, and closes those that do not
   * within `timeoutMs` (default: `drainTimeoutMs`). Resolves when no session is left. The server
   * still answers newcomers, with a refusal.
   */
  drain(timeoutMs?: number): Promise<void>;
  /**
   * Gives requests in work up, closes every session in order, and releases everything. Idempotent.
   * Rejects with ERR_VERBENA_CLEANUP when something could not be released.
   */
  close(): Promise<void>;
  /** `drain`, then `close`. */
  [Symbol.asyncDispose](): Promise<void>;
}
