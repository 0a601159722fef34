// The document at /status.json: what the server is, what it has, what it did. Its schema is in
// docs/metrics.md; fields are added, never changed.
import type { AddressInfo } from 'node:net';
import { packageVersion } from '../native/package.js';
import type { Server } from '../server/api.js';
import type { ServerSnapshot, ServerState, ServerStats, SessionSnapshot } from '../server/views.js';

/** A client in the document; its sequence numbers stay private. */
export interface StatusSession {
  readonly id: number;
  readonly name: string;
  readonly remoteAddress: string;
  readonly state: 'open' | 'closing';
  readonly qpn: number;
  readonly connectedAtMs: number;
  readonly requestsInWork: number;
  readonly requestsAnswered: number;
  readonly requestTimeMs: number;
  /** The number of its worker; null without workers. */
  readonly worker: number | null;
  /** Its name in `resources`. */
  readonly owner: string;
}

export interface StatusDocument {
  readonly schema: 1;
  readonly version: string;
  readonly timestampMs: number;
  readonly uptimeSeconds: number;
  readonly state: ServerState;
  readonly listening: { readonly address: string; readonly port: number } | null;
  readonly device: Pick<ServerSnapshot, 'port' | 'gid'> & { readonly name: string };
  readonly capacity: ServerSnapshot['capacity'];
  readonly counts: Pick<
    ServerStats,
    | 'connections'
    | 'pendingHandshakes'
    | 'accepted'
    | 'refused'
    | 'turnedAway'
    | 'noRoom'
    | 'droppedByRate'
    | 'connectionQueue'
    | 'ended'
    | 'queuePairFailures'
    | 'requestQueue'
    | 'loadShedding'
    | 'traffic'
  >;
  readonly objects: ServerStats['resources'];
  readonly registeredBytes: number;
  readonly pool: ServerSnapshot['pool'];
  /** Empty without workers. */
  readonly workers: ServerStats['workers'];
  readonly sessions: readonly StatusSession[];
  /** Every native object by owner, with what was made from what. */
  readonly resources: ServerSnapshot['tree'];
}

function sessionOf(session: SessionSnapshot): StatusSession {
  const { id, name, remoteAddress, qpn, connectedAtMs, owner, isOpen } = session;
  const { requestsInWork, requestsAnswered, requestTimeMs } = session;
  return {
    id,
    name,
    remoteAddress,
    state: isOpen ? 'open' : 'closing',
    qpn,
    connectedAtMs,
    requestsInWork,
    requestsAnswered,
    requestTimeMs,
    worker: session.worker ?? null,
    owner,
  };
}

/** Where it listens; null once it does not. */
export function listeningAt(server: Server): StatusDocument['listening'] {
  if (server.state === 'closing' || server.state === 'closed') return null;
  const { address, port }: AddressInfo = server.address();
  return { address, port };
}

export async function statusOf(server: Server): Promise<StatusDocument> {
  await server.refresh();
  const snapshot = server.snapshot();
  const stats = server.stats();
  const { connections, pendingHandshakes, accepted, refused, turnedAway } = stats;
  const { noRoom, droppedByRate, connectionQueue, loadShedding } = stats;
  const { ended, queuePairFailures, requestQueue, traffic } = stats;
  return {
    schema: 1,
    version: packageVersion(),
    timestampMs: Date.now(),
    uptimeSeconds: process.uptime(),
    state: snapshot.state,
    listening: listeningAt(server),
    device: { name: snapshot.device, port: snapshot.port, gid: snapshot.gid },
    capacity: snapshot.capacity,
    counts: {
      connections,
      pendingHandshakes,
      accepted,
      refused,
      turnedAway,
      noRoom,
      droppedByRate,
      connectionQueue,
      ended,
      queuePairFailures,
      requestQueue,
      loadShedding,
      traffic,
    },
    objects: stats.resources,
    registeredBytes: snapshot.registeredBytes,
    pool: snapshot.pool,
    workers: stats.workers,
    sessions: snapshot.sessions.map(sessionOf),
    resources: snapshot.tree,
  };
}
