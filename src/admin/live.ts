// What the status page shows every second, sent as server-sent events to a bounded number of pages.
import type { ServerResponse } from 'node:http';
import type { LoadResource } from '../admission/load-shedder.js';
import { packageVersion } from '../native/package.js';
import type { OwnerNode } from '../rdma/registry.js';
import type { Server } from '../server/api.js';
import type { ServerState, ServerStats } from '../server/views.js';
import { History, SAMPLE_INTERVAL_MS, type Sample } from './history.js';
import { listeningAt, type StatusDocument } from './status.js';

const MAX_PAGES = 16;
/** Clients that a page shows: those with most requests in the last second. */
const MAX_CLIENTS = 50;
/** A page that is so far behind does not read, and is let go. */
const MAX_BUFFERED_BYTES = 4 * 2 ** 20;

/** One client on the page. */
export interface LiveClient {
  readonly id: number;
  readonly name: string;
  readonly remoteAddress: string;
  readonly state: 'open' | 'closing';
  readonly connectedAtMs: number;
  readonly qpn: number;
  readonly requestsInWork: number;
  /** The number of its worker; null without workers. */
  readonly worker: number | null;
  readonly requestsPerSecond: number;
  /** Mean time of the requests answered in the last second; null when there were none. */
  readonly meanMs: number | null;
  readonly resources: OwnerNode;
}

export interface LiveUpdate {
  readonly sample: Sample;
  readonly version: string;
  readonly state: ServerState;
  readonly device: string;
  readonly listening: StatusDocument['listening'];
  readonly capacity: { readonly clients: number; readonly limitedBy: string };
  readonly accepted: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly ended: Readonly<Record<string, number>>;
  readonly requests: number;
  readonly requestsInWork: number;
  readonly queue: { readonly pending: number; readonly size: number };
  readonly pendingHandshakes: number;
  /** Clients that wait for a connection. */
  readonly waiting: number;
  /** Resources of which there is too much load now. */
  readonly shedding: readonly LoadResource[];
  readonly objects: ServerStats['resources'];
  readonly registeredBytes: number;
  readonly uptimeSeconds: number;
  readonly workers: ServerStats['workers'];
  readonly clientsTotal: number;
  readonly clients: readonly LiveClient[];
}

interface Activity {
  readonly answered: number;
  readonly timeMs: number;
}

/** As server-sent events are written; JSON has no line breaks of its own. */
function eventOf(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

export class Live {
  readonly #server: Server;
  readonly #history: History;
  readonly #version = packageVersion();
  readonly #pages = new Set<ServerResponse>();
  readonly #timer: NodeJS.Timeout;
  /** What each client had done at the last update; kept while somebody looks. */
  #activity = new Map<number, Activity>();
  #lastUpdateAt = performance.now();
  #isClosed = false;

  constructor(server: Server) {
    this.#server = server;
    this.#history = new History(() => server.stats());
    this.#timer = setInterval(() => void this.#tick(), SAMPLE_INTERVAL_MS);
    this.#timer.unref();
  }

  /** Sends the last minutes, then an update every second; false when too many pages are open. */
  add(page: ServerResponse): boolean {
    if (this.#pages.size >= MAX_PAGES) return false;
    this.#pages.add(page);
    page.once('close', () => this.#pages.delete(page));
    page.write('retry: 2000\n');
    this.#send(page, eventOf('history', this.#history.samples));
    return true;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#isClosed = true;
    for (const page of this.#pages) page.end();
  }

  async #tick(): Promise<void> {
    // Nobody needs every object of the workers while nobody looks.
    await this.#server.refresh({ objects: this.#pages.size > 0 });
    if (this.#isClosed) return;
    const sample = this.#history.take();
    if (this.#pages.size === 0) {
      this.#activity.clear();
      this.#lastUpdateAt = performance.now();
      return;
    }
    const update = eventOf('update', this.#update(sample));
    for (const page of this.#pages) this.#send(page, update);
  }

  #send(page: ServerResponse, event: string): void {
    if (page.writableLength > MAX_BUFFERED_BYTES) page.destroy();
    else page.write(event);
  }

  #update(sample: Sample): LiveUpdate {
    const server = this.#server;
    const stats = server.stats();
    const { traffic } = stats;
    const { clients, limitedBy } = server.capacity;
    const shown = this.#clients();
    return {
      sample,
      version: this.#version,
      state: stats.state,
      device: server.deviceName,
      listening: listeningAt(server),
      capacity: { clients, limitedBy },
      accepted: stats.accepted,
      refused: stats.refused,
      ended: stats.ended,
      requests: traffic.requests,
      requestsInWork: shown.inWork,
      queue: { pending: stats.requestQueue.pending, size: stats.requestQueue.queueSize },
      pendingHandshakes: stats.pendingHandshakes,
      waiting: stats.connectionQueue.waiting,
      shedding: stats.loadShedding.reasons,
      objects: stats.resources,
      registeredBytes: stats.registeredBytes,
      uptimeSeconds: process.uptime(),
      workers: stats.workers,
      clientsTotal: stats.connections,
      clients: shown.clients,
    };
  }

  #clients(): { readonly clients: LiveClient[]; readonly inWork: number } {
    const now = performance.now();
    const seconds = Math.max(now - this.#lastUpdateAt, 1) / 1000;
    const activity = new Map<number, Activity>();
    let inWork = 0;
    const busy = this.#server.sessions().map((session) => {
      const { id, requestsAnswered: answered, requestTimeMs: timeMs } = session;
      const before = this.#activity.get(id) ?? { answered, timeMs };
      activity.set(id, { answered, timeMs });
      inWork += session.requestsInWork;
      return { session, count: answered - before.answered, timeMs: timeMs - before.timeMs };
    });
    this.#activity = activity;
    this.#lastUpdateAt = now;
    busy.sort((a, b) => b.count - a.count || a.session.id - b.session.id);
    const clients = busy.slice(0, MAX_CLIENTS).map(({ session, count, timeMs }): LiveClient => {
      const { id, name, remoteAddress, connectedAtMs, qpn, requestsInWork } = session;
      return {
        id,
        name,
        remoteAddress,
        state: session.isOpen ? 'open' : 'closing',
        connectedAtMs,
        qpn,
        requestsInWork,
        worker: session.worker ?? null,
        requestsPerSecond: count / seconds,
        meanMs: count === 0 ? null : timeMs / count,
        resources: session.resources(),
      };
    });
    return { clients, inWork };
  }
}
