// The data halves of all sessions in workers; the main thread's device and poll group have none.
import type { OwnerNode } from '../rdma/registry.js';
import type { DataPlane, Place, PlacedControl, PlaneCounts, RequestQueue } from './data-plane.js';
import type { LocalPlane } from './local-plane.js';
import type { SessionDataOptions } from './local-session-data.js';
import { addNumbers, type ThreadObjects } from './report.js';
import type { Session, SessionIdentity } from './session.js';
import type { WorkerPool } from './worker-pool.js';
import type { WorkerStats } from './worker-slot.js';

export class WorkerPlane implements DataPlane {
  readonly #pool: WorkerPool;
  readonly #main: LocalPlane;
  readonly #deviceName: string;

  /** `main`: what this thread itself has open. */
  constructor(pool: WorkerPool, main: LocalPlane, deviceName: string) {
    this.#pool = pool;
    this.#main = main;
    this.#deviceName = deviceName;
  }

  get queue(): RequestQueue {
    return this.#pool;
  }

  get workersSpinMs(): number {
    return this.#pool.spinMs;
  }

  start(): Promise<void> {
    return this.#pool.start();
  }

  setOptions(options: SessionDataOptions): void {
    this.#pool.setOptions(options);
  }

  place(session: Session & PlacedControl, identity: SessionIdentity): Place {
    return this.#pool.place(identity, session);
  }

  counts(): PlaneCounts {
    const { pollGroup, ...own } = this.#main.counts();
    const { pollGroup: polling, ...theirs } = this.#pool.counts;
    const { pending, queueSize } = this.#pool;
    return {
      ...addNumbers(own, theirs),
      // This thread takes no requests.
      requestQueue: { ...theirs.requestQueue, pending, queueSize },
      pollGroup: pollGroup === undefined ? polling : addNumbers(pollGroup, polling),
    };
  }

  objects(): ThreadObjects {
    const own = this.#main.objects();
    const theirs = this.#pool.objects.map(({ worker, objects }) => this.#named(worker, objects));
    return {
      resources: [own, ...theirs].flatMap(({ resources }) => resources),
      tree: [own, ...theirs].flatMap(({ tree }) => tree),
    };
  }

  resourcesOf(owner: string): OwnerNode {
    for (const { objects } of this.#pool.objects) {
      const found = objects.tree.find((node) => node.owner === owner);
      if (found !== undefined) return found;
    }
    return { owner, bytes: 0, objects: [] };
  }

  workers(): WorkerStats[] {
    return this.#pool.stats;
  }

  refresh(withObjects: boolean): Promise<void> {
    return this.#pool.refresh(withObjects);
  }

  drainWorker(index: number): Promise<void> {
    return this.#pool.drain(index);
  }

  renewWorker(index: number): Promise<unknown[]> {
    return this.#pool.renew(index);
  }

  endStuck(worker?: number): Promise<void> {
    return this.#pool.endStuck(worker);
  }

  retire(): void {
    this.#pool.retire();
  }

  async close(): Promise<unknown[]> {
    const failures = await this.#pool.close();
    return [...failures, ...(await this.#main.close())];
  }

  /** Each thread calls the owner of its device and poll group by the device's name. */
  #named(worker: number, { resources, tree }: ThreadObjects): ThreadObjects {
    const name = <T extends { readonly owner: string }>(record: T): T =>
      record.owner === this.#deviceName
        ? { ...record, owner: `${record.owner} (worker ${worker})` }
        : record;
    return { resources: resources.map(name), tree: tree.map(name) };
  }
}
