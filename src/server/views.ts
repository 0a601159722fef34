// What a server shows of itself: what exists now, and what happened so far.
import type { LoadSheddingStats } from '../admission/load-shedder.js';
import type { RequestGateStats } from '../admission/request-gate.js';
import type { WaitingLineStats } from '../admission/waiting-line.js';
import type { Durations } from '../connection/duration-histogram.js';
import type { TrafficStats } from '../connection/traffic-stats.js';
import type { NativePollGroupStats } from '../native/addon.js';
import type { BufferPoolStats } from '../rdma/buffer-pool.js';
import type { OwnerNode, ResourceKind, ResourceRecord } from '../rdma/registry.js';
import type { WorkerStats } from '../workers/worker-slot.js';
import type { Capacity } from './capacity.js';
import type { AdmissionRefusalReason } from './refusal.js';

export interface ServerSnapshot {
  readonly device: string;
  /** Port of the device, the address that clients of any family are first offered, and why that. */
  readonly port: number;
  readonly gid: { readonly index: number; readonly address: string; readonly reason: string };
  readonly state: ServerState;
  /** Clients that configuration, device and system allow, and each of their limits. */
  readonly capacity: Capacity;
  readonly sessions: readonly SessionSnapshot[];
  /** Sockets whose set-up is not finished. */
  readonly pendingHandshakes: number;
  /** Every native object of this process's device, of this server or others. */
  readonly resources: readonly ResourceRecord[];
  /** The same by owner, with what was made from what. */
  readonly tree: readonly OwnerNode[];
  readonly registeredBytes: number;
  readonly pool: BufferPoolStats;
}

export interface SessionSnapshot {
  readonly id: number;
  readonly name: string;
  readonly remoteAddress: string;
  readonly qpn: number;
  readonly localPsn: number;
  readonly remotePsn: number;
  readonly isOpen: boolean;
  /** Milliseconds since the epoch. */
  readonly connectedAtMs: number;
  readonly requestsInWork: number;
  /** Requests taken and answered, and the time that they took together. */
  readonly requestsAnswered: number;
  readonly requestTimeMs: number;
  /** The worker that serves it; undefined when the server has no workers. */
  readonly worker: number | undefined;
  /** Its name in `tree`. */
  readonly owner: string;
}

/** Numbers only, quick to read whatever the number of clients: what metrics are made from. */
export interface ServerStats {
  readonly state: ServerState;
  /** Clients connected now, and sockets whose set-up is not finished. */
  readonly connections: number;
  readonly pendingHandshakes: number;
  /** Native objects of this process's device by kind, and the bytes registered. */
  readonly resources: Readonly<Record<ResourceKind, number>>;
  readonly registeredBytes: number;
  readonly pool: BufferPoolStats;
  /** Set-ups that succeeded, and that failed by code. */
  readonly accepted: number;
  readonly refused: Readonly<Record<string, number>>;
  /** Of those refused, the ones for whom there was no room, by why. */
  readonly noRoom: Readonly<Record<AdmissionRefusalReason, number>>;
  /** Clients that wait for a slot, and what became of those that did. */
  readonly connectionQueue: WaitingLineStats;
  /** Sockets closed at once because their address came too often, and had been told so. */
  readonly droppedByRate: number;
  /** Sockets closed at once because too many others were in their set-up, or waited for it. */
  readonly turnedAway: number;
  /** From TCP accept to the end of a set-up that succeeded. */
  readonly handshakeDurations: Durations;
  /** From the arrival of a request to its answer, of those that were taken. */
  readonly requestDurations: Durations;
  /** From the arrival of a request to its being taken: it is handled at once, or read. */
  readonly requestStartDelays: Durations;
  /** Queue pairs that broke, by the verbs status (or else the code) of the cause. */
  readonly queuePairFailures: Readonly<Record<string, number>>;
  /** Sessions ended, by the code of the reason. */
  readonly ended: Readonly<Record<string, number>>;
  /** Requests pending over all clients, how many there may be, and those refused by reason. */
  readonly requestQueue: RequestGateStats;
  /** Whether there is too much load now, of what, and the last reading. */
  readonly loadShedding: LoadSheddingStats;
  readonly traffic: Readonly<TrafficStats>;
  readonly pollGroup: NativePollGroupStats | undefined;
  /** Each worker; empty when the server has none. */
  readonly workers: readonly WorkerStats[];
}

/**
 * `suspended`: the device's port is down, and newcomers are refused until it is active again.
 * `failed`: the device failed, every session ends, and all that is left to do is to close.
 */
export type ServerState = 'listening' | 'suspended' | 'draining' | 'failed' | 'closing' | 'closed';
