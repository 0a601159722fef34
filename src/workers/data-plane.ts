// Where the data halves of a server's sessions live: one interface for this thread and for workers.
import type { OwnerNode } from '../rdma/registry.js';
import type { SessionDataOptions } from './local-session-data.js';
import type { RemoteSessionControl } from './remote-session-data.js';
import type { ThreadCounts, ThreadObjects } from './report.js';
import type { SessionControl, SessionData } from './session-data.js';
import type { Session, SessionIdentity } from './session.js';
import type { WorkerStats } from './worker-slot.js';

/** What the control half of a session is for its data half, wherever that is. */
export type PlacedControl = SessionControl & RemoteSessionControl;

/** Where the data half of a session is. */
export interface Place {
  /** The worker's number; undefined in this thread. */
  readonly worker: number | undefined;
  readonly data: SessionData;
}

/** What the threads of a server count; `pollGroup` is undefined once there is none. */
export type PlaneCounts = Omit<ThreadCounts, 'pollGroup'> & {
  readonly pollGroup: ThreadCounts['pollGroup'] | undefined;
};

/** The requests of all sessions. */
export interface RequestQueue {
  /** Taken and not answered, as of now. */
  readonly pending: number;
  /** As many as there may be. */
  queueSize: number;
  /** Whether connections with far more than the others are refused more. */
  isShedding: boolean;
}

export interface DataPlane {
  readonly queue: RequestQueue;
  /** Time that the threads of workers spun in vain so far. */
  readonly workersSpinMs: number;
  /** Resolves when sessions can be placed; what was begun is undone when it rejects. */
  start(): Promise<void>;
  /** Counts for sessions that are placed from now on. */
  setOptions(options: SessionDataOptions): void;
  /** Throws ERR_VERBENA_RESOURCE_EXHAUSTED when there is no place now. */
  place(session: Session & PlacedControl, identity: SessionIdentity): Place;
  /** What happened so far, in numbers. Of workers: as of their last reports. */
  counts(): PlaneCounts;
  /** Every native object. Of workers: as of the last `refresh` for them. */
  objects(): ThreadObjects;
  /** What one owner has open. */
  resourcesOf(owner: string): OwnerNode;
  workers(): WorkerStats[];
  /** Brings what workers count, and their objects if asked, up to date; waits for none for long. */
  refresh(withObjects: boolean): Promise<void>;
  /** Nothing is placed on the worker any more; resolves when it has no session. */
  drainWorker(index: number): Promise<void>;
  /** Replaces a worker that has no session; resolves with what could not be released. */
  renewWorker(index: number): Promise<unknown[]>;
  /** Sessions are about to be closed: a worker that does not answer would keep them from it. */
  endStuck(worker?: number): Promise<void>;
  /** What ends from now on is not replaced. */
  retire(): void;
  /** After the last session; resolves with what could not be released. */
  close(): Promise<unknown[]>;
}
