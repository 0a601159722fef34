// The data halves of all sessions in this thread.
import { VerbenaError } from '../errors.js';
import type { OwnerNode } from '../rdma/registry.js';
import type { DataPlane, Place, PlacedControl, PlaneCounts, RequestQueue } from './data-plane.js';
import {
  LocalSessionData,
  type SessionDataHost,
  type SessionDataOptions,
} from './local-session-data.js';
import type { ThreadObjects } from './report.js';
import type { Session } from './session.js';
import type { WorkerStats } from './worker-slot.js';

export class LocalPlane implements DataPlane {
  readonly workersSpinMs = 0;
  readonly #host: SessionDataHost<Session>;
  #isClosed = false;

  constructor(host: SessionDataHost<Session>) {
    this.#host = host;
    host.gate.maxBytes = host.options.requestMemoryBytes;
  }

  get queue(): RequestQueue {
    return this.#host.gate;
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  setOptions(options: SessionDataOptions): void {
    Object.assign(this.#host.options, options);
    this.#host.gate.maxBytes = options.requestMemoryBytes;
  }

  place(session: Session & PlacedControl): Place {
    return { worker: undefined, data: new LocalSessionData<Session>(this.#host, session, session) };
  }

  counts(): PlaneCounts {
    const { device, traffic, requestDurations, requestStartDelays, gate } = this.#host;
    const { registry } = device;
    return {
      traffic: { ...traffic, errorAnswers: { ...traffic.errorAnswers } },
      requestDurations: requestDurations.durations(),
      requestStartDelays: requestStartDelays.durations(),
      requestQueue: gate.stats(performance.now()),
      pollGroup: this.#isClosed ? undefined : device.group.stats(),
      resources: registry.counts(),
      registeredBytes: registry.bytes,
      pool: device.poolStats(),
    };
  }

  objects(): ThreadObjects {
    const { registry } = this.#host.device;
    return { resources: registry.snapshot(), tree: registry.tree() };
  }

  resourcesOf(owner: string): OwnerNode {
    const [tree] = this.#host.device.registry.tree([owner]);
    return tree as OwnerNode;
  }

  workers(): WorkerStats[] {
    return [];
  }

  refresh(): Promise<void> {
    return Promise.resolve();
  }

  drainWorker(): Promise<void> {
    return Promise.reject(
      new VerbenaError(
        'ERR_VERBENA_INVALID_OPTION',
        'this server has no workers: start it with `workers` (--workers)',
      ),
    );
  }

  renewWorker(): Promise<unknown[]> {
    return Promise.resolve([]);
  }

  endStuck(): Promise<void> {
    return Promise.resolve();
  }

  retire(): void {
    // Nothing here ends by itself.
  }

  close(): Promise<unknown[]> {
    this.#isClosed = true;
    return Promise.resolve([]);
  }
}
