// The workers of a server: which of them takes a session, and what they do together.
import { within } from '../connection/within.js';
import { VerbenaError } from '../errors.js';
import type { Place, PlacedControl, RequestQueue } from './data-plane.js';
import { RETRY_AFTER_MS } from './device-refusal.js';
import type { SessionDataOptions } from './local-session-data.js';
import type { WorkerOrders } from './messages.js';
import { newPlacement, type Placement, type PlacementStrategy } from './placement.js';
import { addNumbers, noCounts, type ThreadCounts, type ThreadObjects } from './report.js';
import type { SessionIdentity } from './session.js';
import { WorkerSlot, type WorkerStats } from './worker-slot.js';

const NS_PER_MS = 1e6;
const LOOK_INTERVAL_MS = 1000;
/** How long `refresh` waits for a worker whose thread is busy. */
const REFRESH_TIMEOUT_MS = 1000;
/** A worker that does not answer for so many `closeTimeoutMs` is stuck, not only busy. */
const STUCK_AFTER = 3;

export interface WorkerPoolOptions {
  /** The processor of each worker, one entry each. */
  readonly processors: readonly (number | undefined)[];
  readonly strategy: PlacementStrategy;
  /** What every worker starts with. */
  readonly orders: Omit<WorkerOrders, 'index' | 'processor' | 'live'>;
  readonly heapMb: number | undefined;
  /** Requests that a worker may have taken and not answered, and all of them together. */
  readonly workerChannelSize: number;
  readonly queueSize: number;
  /** A worker was lost, or could not be started; it is replaced. */
  readonly onLost: (index: number, reason: VerbenaError) => void;
}

export class WorkerPool implements RequestQueue {
  readonly #slots: readonly WorkerSlot[];
  readonly #placement: Placement;
  readonly #closeTimeoutMs: number;
  readonly #workerChannelSize: number;
  #isShedding = false;
  #looking: NodeJS.Timeout | undefined;

  constructor(options: WorkerPoolOptions) {
    const { processors, orders, heapMb, onLost } = options;
    this.#workerChannelSize = options.workerChannelSize;
    this.#placement = newPlacement(options.strategy);
    this.#closeTimeoutMs = orders.options.closeTimeoutMs;
    this.#slots = processors.map(
      (processor, index) =>
        new WorkerSlot({
          orders: { ...orders, index, processor },
          heapMb,
          onLost: (reason) => onLost(index, reason),
        }),
    );
    this.queueSize = options.queueSize;
  }

  /** Resolves when every worker takes sessions; rejects, with none left, when one cannot. */
  async start(): Promise<void> {
    const starts = await Promise.allSettled(this.#slots.map((slot) => slot.start()));
    const failed = starts.find((start) => start.status === 'rejected');
    if (failed !== undefined) {
      await this.close();
      throw failed.reason;
    }
    this.#looking = setInterval(() => this.#look(), LOOK_INTERVAL_MS);
    this.#looking.unref();
  }

  setOptions(options: SessionDataOptions): void {
    for (const slot of this.#slots) slot.setOptions(options);
  }

  /** Takes a session; throws ERR_VERBENA_RESOURCE_EXHAUSTED when no worker does. */
  place(identity: SessionIdentity, control: PlacedControl): Place {
    const loads = this.#slots.filter(({ state }) => state === 'ready').map(({ load }) => load);
    if (loads.length === 0) {
      throw new VerbenaError(
        'ERR_VERBENA_RESOURCE_EXHAUSTED',
        'no worker of the server takes clients now; they are being started',
        { retryAfterMs: RETRY_AFTER_MS },
      );
    }
    const { index } = this.#placement.choose(loads, clientOf(identity));
    return { worker: index, data: this.#slot(index).take({ identity, control }) };
  }

  get pending(): number {
    return this.#slots.reduce((sum, slot) => sum + slot.requestsInWork, 0);
  }

  get queueSize(): number {
    return this.#slots.reduce((sum, slot) => sum + slot.channelSize, 0);
  }

  /** Each has its share, and no more than a worker may have. */
  set queueSize(value: number) {
    const share = Math.max(1, Math.floor(value / this.#slots.length));
    for (const slot of this.#slots) slot.channelSize = Math.min(share, this.#workerChannelSize);
  }

  get isShedding(): boolean {
    return this.#isShedding;
  }

  set isShedding(value: boolean) {
    this.#isShedding = value;
    for (const slot of this.#slots) slot.isShedding = value;
  }

  get spinMs(): number {
    return this.#slots.reduce((sum, { counts }) => sum + counts.pollGroup.spinNs, 0) / NS_PER_MS;
  }

  /** What all workers counted, those that are gone included, as of their last reports. */
  get counts(): ThreadCounts {
    return this.#slots.reduce((sum, { counts }) => addNumbers(sum, counts), noCounts());
  }

  /** Every native object of each worker, as of the last `refresh` for them. */
  get objects(): readonly { readonly worker: number; readonly objects: ThreadObjects }[] {
    return this.#slots.flatMap(({ index, objects }) =>
      objects === undefined ? [] : [{ worker: index, objects }],
    );
  }

  get stats(): WorkerStats[] {
    return this.#slots.map((slot) => slot.stats);
  }

  /** Has the workers report, and waits for those that are not too busy to. */
  async refresh(withObjects: boolean): Promise<void> {
    const reports = Promise.all(this.#slots.map((slot) => slot.refresh(withObjects)));
    await within(reports, REFRESH_TIMEOUT_MS);
  }

  /** Nothing is placed on the worker any more; resolves when it has no session. */
  drain(index: number): Promise<void> {
    return this.#slot(index).drain();
  }

  /** Replaces a worker that has no session; resolves with what could not be released. */
  renew(index: number): Promise<unknown[]> {
    return this.#slot(index).renew(this.#closeTimeoutMs);
  }

  /** Ends the workers, or one, that do not answer any more, so that their sessions can end. */
  async endStuck(worker?: number): Promise<void> {
    const slots = worker === undefined ? this.#slots : [this.#slot(worker)];
    await Promise.all(slots.map((slot) => slot.endIfStuck(STUCK_AFTER * this.#closeTimeoutMs)));
  }

  /** Workers that are lost from now on are not replaced. */
  retire(): void {
    for (const slot of this.#slots) slot.retire();
  }

  /** Ends every worker; resolves with what could not be released. */
  async close(): Promise<unknown[]> {
    clearInterval(this.#looking);
    const failures = await Promise.all(this.#slots.map((slot) => slot.stop(this.#closeTimeoutMs)));
    return failures.flat();
  }

  #look(): void {
    for (const slot of this.#slots) slot.look();
    void this.refresh(false);
  }

  #slot(index: number): WorkerSlot {
    const slot = this.#slots[index];
    if (slot !== undefined) return slot;
    throw new VerbenaError(
      'ERR_VERBENA_INVALID_OPTION',
      `there is no worker ${index}; they are numbered from 0 to ${this.#slots.length - 1}`,
    );
  }
}

/** What `client-hash` knows a client by: its name, or, if it gives none, its address. */
function clientOf({ name, remoteAddress }: SessionIdentity): string {
  return name === '' ? remoteAddress.replace(/:\d*$/, '') : name;
}
