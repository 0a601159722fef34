// The load of one thread: lanes on its connections that begin operations until it is over.
import { setImmediate as turn } from 'node:timers/promises';
import { codeOf } from '../errors.js';
import type { Connection } from '../index.js';
import { settlesWithin } from '../processes/managed-process.js';
import { randomFrom } from '../random.js';
import { Schedule } from './arrivals.js';
import type { Link } from './links.js';
import type { ThreadOrders } from './messages.js';
import { Meter } from './meter.js';
import { PhaseSample } from './phases.js';
import { Lane, drawFrom, regionFor, requests, type OperationName } from './workload.js';

/** How long operations that are under way may take after the user has had enough. */
const impatienceMs = 1000;

export class ThreadLoad {
  readonly meter: Meter;
  readonly #orders: ThreadOrders;
  readonly #random: () => number;
  readonly #draw: () => OperationName;
  /** Of its own, so that the other choices of a run are the same with and without samples. */
  readonly #drawSample: () => number;
  readonly #lanes: Lane[];
  #schedule: Schedule | undefined;
  #measureFromMs = 0;
  #endMs = Infinity;
  /** Measured operations that may still be begun. */
  #left: number;
  #onStop: () => void = () => undefined;
  readonly #stopped = new Promise<void>((resolve) => (this.#onStop = resolve));
  #isStopped = false;

  constructor(
    orders: ThreadOrders,
    links: readonly Link[],
    openAnother: () => Promise<Connection>,
  ) {
    const { load } = orders;
    this.#orders = orders;
    this.meter = new Meter(load);
    this.#random = randomFrom(load.seed);
    this.#draw = drawFrom(load.workload, this.#random);
    this.#drawSample = randomFrom((load.seed + 1) * 7919);
    this.#left = load.count ?? Infinity;
    const { timeoutMs } = load;
    const options = { maxBytes: load.bytes.max, timeoutMs, random: this.#random, openAnother };
    const lanes = load.depth * (load.pool?.connectionsPerInstance ?? 1);
    this.#lanes = links.flatMap((link) =>
      Array.from({ length: lanes }, (_, index) => new Lane(link, index, options)),
    );
  }

  get lateShare(): number {
    return this.#schedule?.lateShare ?? 0;
  }

  get unsent(): number {
    return this.#isStopped ? 0 : (this.#schedule?.unsent() ?? 0);
  }

  /** Lays out the memory at the server; throws when it lends less than that takes. */
  async prepare(): Promise<void> {
    const { workload, bytes, depth } = this.#orders.load;
    const needed = regionFor(workload, bytes.max, depth);
    if (needed === 0) return;
    for (const { link } of this.#lanes) {
      if (link.regionLength >= needed) continue;
      throw new Error(
        `the server lends ${link.regionLength} bytes to a connection, and ${depth} ` +
          `operations at a time of ${bytes.max} bytes need ${needed}: raise its region-bytes, ` +
          'or lower --bytes or --depth',
      );
    }
    if (bytes.max > 0) await Promise.all(this.#lanes.map((lane) => lane.prepare()));
  }

  /** Resolves when all is over, or when what is under way takes too long. */
  async run(): Promise<void> {
    const { load } = this.#orders;
    const nowMs = performance.now();
    this.#measureFromMs = nowMs + load.warmUpMs;
    if (load.durationMs !== undefined) this.#endMs = this.#measureFromMs + load.durationMs;
    this.meter.begin();
    if (load.rate !== undefined) this.#schedule = this.#plan(load.rate, nowMs);
    const lanes = Promise.all(
      this.#lanes.map((lane) => (load.rate === undefined ? this.#closed(lane) : this.#open(lane))),
    );
    await Promise.race([lanes, this.#stopped]);
    if (this.#isStopped) await settlesWithin(lanes, impatienceMs);
  }

  /** Begins nothing more. */
  stop(): void {
    this.#isStopped = true;
    this.#schedule?.stop();
    this.#onStop();
  }

  #plan(rate: number, beginMs: number): Schedule {
    const { load, phase } = this.#orders;
    return new Schedule({
      rate,
      arrivals: load.arrivals,
      beginMs,
      endMs: this.#endMs,
      count: load.count ?? Infinity,
      countFromMs: this.#measureFromMs,
      phase,
      random: this.#random,
      isIdle: () => this.meter.underWay === 0,
    });
  }

  async #closed(lane: Lane): Promise<void> {
    for (;;) {
      const nowMs = performance.now();
      const isMeasured = nowMs >= this.#measureFromMs;
      if (this.#isStopped || nowMs >= this.#endMs || this.#left === 0) return;
      if (!lane.link.isOpen) return;
      if (isMeasured) this.#left -= 1;
      await this.#one(lane, nowMs, isMeasured);
    }
  }

  async #open(lane: Lane): Promise<void> {
    for (;;) {
      if (!lane.link.isOpen) return;
      const plannedMs = await this.#schedule?.next();
      if (plannedMs === undefined) return;
      await this.#one(lane, plannedMs, plannedMs >= this.#measureFromMs);
    }
  }

  async #one(lane: Lane, sinceMs: number, isMeasured: boolean): Promise<void> {
    const { bytes: range, verify } = this.#orders.load;
    const { min, max } = range;
    const bytes = min === max ? max : min + Math.floor(this.#random() * (max - min + 1));
    const operation = this.#draw();
    const sample = isMeasured ? this.#sampleOf(operation) : undefined;
    this.meter.onBegun();
    try {
      const moved = await lane.run(operation, bytes, sample?.take);
      const endMs = performance.now();
      await lane.conclude(operation, bytes, verify);
      this.meter.onDone(isMeasured, endMs - sinceMs, moved);
      const phases = sample?.durations(sinceMs, endMs);
      if (phases !== undefined) this.meter.onPhases(phases);
    } catch (error) {
      this.meter.onFailed(isMeasured, codeOf(error) ?? 'UNKNOWN');
      // What fails at once must not keep the event loop from everything else.
      await turn();
    }
  }

  /** Only requests have phases. */
  #sampleOf(operation: OperationName): PhaseSample | undefined {
    const { phaseSample } = this.#orders.load;
    if (phaseSample === undefined || !requests.has(operation)) return undefined;
    return this.#drawSample() * phaseSample < 1 ? new PhaseSample() : undefined;
  }
}
