// One numbered place for a worker: the thread that has it now, its sessions, what it counted and
// what those before it did, and its replacement.
import type { EventLoopUtilization } from 'node:perf_hooks';
import { within } from '../connection/within.js';
import { VerbenaError } from '../errors.js';
import type { SessionDataOptions } from './local-session-data.js';
import {
  LIVE_WORDS,
  LiveWord,
  type SessionNews,
  type WorkerAnswers,
  type WorkerOrders,
} from './messages.js';
import type { WorkerLoad } from './placement.js';
import { RemoteSessionData, type RemoteSessionOptions } from './remote-session-data.js';
import { addNumbers, countsAfterEnd, noCounts, type ThreadCounts } from './report.js';
import type { ThreadObjects, WorkerReport } from './report.js';
import { unpackError } from './thrown.js';
import { WorkerLink, type LinkListener } from './worker-link.js';

/** A worker that cannot start is tried again after this; doubled each time, up to the longest. */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
const MS_PER_SECOND = 1000;

/**
 * `down`: it could not be started, and will be tried again. `stopped`: the server has closed it.
 */
export type WorkerState = 'starting' | 'ready' | 'draining' | 'down' | 'stopped';

/** One worker, in numbers; what its predecessors of the same number did is included. */
export interface WorkerStats {
  readonly index: number;
  readonly state: WorkerState;
  /** Node's number of its thread; -1 while there is none. */
  readonly threadId: number;
  /** The processor that it is bound to. */
  readonly processor: number | undefined;
  /** Times that a worker of this number was lost and replaced. */
  readonly replacements: number;
  readonly sessions: number;
  /** Requests taken and not answered. */
  readonly requestsInWork: number;
  /** Requests that came, and batches of completions that they and all else came in. */
  readonly received: number;
  readonly receivedBatches: number;
  /** Answers that went out, and SENDs that they went in. */
  readonly sent: number;
  readonly sentBatches: number;
  /** Requests refused for want of room. */
  readonly rejected: number;
  /** Time that the thread was not waiting for events, and its share of the last second. */
  readonly busySeconds: number;
  readonly busy: number;
}

export interface WorkerSlotOptions {
  readonly orders: Omit<WorkerOrders, 'live'>;
  readonly heapMb: number | undefined;
  /** A worker was lost, or could not be started. */
  readonly onLost: (reason: VerbenaError) => void;
}

const noUtilization: EventLoopUtilization = { idle: 0, active: 0, utilization: 0 };

export class WorkerSlot implements LinkListener {
  readonly #options: WorkerSlotOptions;
  #sessionOptions: SessionDataOptions;
  readonly #sessions = new Set<RemoteSessionData>();
  /** Of the thread that is there now; what one before it still writes is not read. */
  #live: Int32Array;
  #channelSize = 0;
  #isShedding = false;
  #link: WorkerLink | undefined;
  #state: WorkerState = 'starting';
  #isReplaceable = true;
  #replacements = 0;
  #failedStarts = 0;
  #retry: NodeJS.Timeout | undefined;
  #past: ThreadCounts = noCounts();
  #pastBusyMs = 0;
  #report: WorkerReport | undefined;
  readonly #asked = new Map<boolean, Promise<void>>();
  /** The thread's time at the last look but one, and at the last. */
  #looks: [EventLoopUtilization, EventLoopUtilization] = [noUtilization, noUtilization];
  #startWaiters: { resolve: () => void; reject: (error: VerbenaError) => void }[] = [];
  #emptyWaiters: (() => void)[] = [];

  constructor(options: WorkerSlotOptions) {
    this.#options = options;
    this.#sessionOptions = options.orders.options;
    this.#live = this.#newLive();
  }

  get index(): number {
    return this.#options.orders.index;
  }

  get state(): WorkerState {
    return this.#state;
  }

  get requestsInWork(): number {
    return this.#live[LiveWord.requestsInWork] as number;
  }

  /** Requests that it may have taken and not answered. */
  get channelSize(): number {
    return this.#channelSize;
  }

  set channelSize(value: number) {
    this.#channelSize = value;
    this.#live[LiveWord.channelSize] = value;
  }

  set isShedding(value: boolean) {
    this.#isShedding = value;
    this.#live[LiveWord.isShedding] = Number(value);
  }

  get load(): WorkerLoad {
    const { index, requestsInWork } = this;
    return { index, sessions: this.#sessions.size, requestsInWork, busy: this.#busy };
  }

  /** What this worker and those before it counted, as of the last report. */
  get counts(): ThreadCounts {
    return this.#report === undefined ? this.#past : addNumbers(this.#past, this.#report.counts);
  }

  /** As of the last report that had them. */
  get objects(): ThreadObjects | undefined {
    return this.#report?.objects;
  }

  get stats(): WorkerStats {
    const { traffic, pollGroup } = this.counts;
    const activeMs = this.#link?.utilization().active ?? 0;
    return {
      index: this.index,
      state: this.#state,
      threadId: this.#link?.threadId ?? -1,
      processor: this.#options.orders.processor,
      replacements: this.#replacements,
      sessions: this.#sessions.size,
      requestsInWork: this.requestsInWork,
      received: traffic.requests,
      receivedBatches: pollGroup.batches,
      sent: traffic.responses + traffic.requestErrors,
      sentBatches: traffic.sendsPosted,
      rejected: traffic.errorAnswers.exhausted,
      busySeconds: (this.#pastBusyMs + activeMs) / MS_PER_SECOND,
      busy: this.#busy,
    };
  }

  /** Resolves when the worker takes sessions; rejects when it cannot be started. */
  start(): Promise<void> {
    const started = new Promise<void>((resolve, reject) => {
      this.#startWaiters.push({ resolve, reject });
    });
    this.#begin();
    return started;
  }

  /** The data half of a session, on this worker. */
  take(options: Pick<RemoteSessionOptions, 'identity' | 'control'>): RemoteSessionData {
    const data = new RemoteSessionData({
      ...options,
      link: this.#link as WorkerLink,
      // The worker's own limit, and time for the message.
      quiesceTimeoutMs: this.#options.orders.options.closeTimeoutMs + MS_PER_SECOND,
      onClosed: () => this.#forget(data),
    });
    this.#sessions.add(data);
    return data;
  }

  /** No session is placed here any more; resolves when there is none. */
  async drain(): Promise<void> {
    if (this.#state === 'ready') this.#state = 'draining';
    if (this.#sessions.size > 0) {
      await new Promise<void>((resolve) => this.#emptyWaiters.push(resolve));
    }
  }

  /** Asks for a report; resolves when it is here or the worker gone. */
  refresh(withObjects: boolean): Promise<void> {
    const asked = this.#asked.get(withObjects);
    if (asked !== undefined) return asked;
    const link = this.#link;
    if (link === undefined || this.#state === 'starting') return Promise.resolve();
    const asking = link
      .call({ type: 'report', withObjects })
      .then((report) => this.#onReport(link, report))
      .catch(() => undefined)
      .finally(() => this.#asked.delete(withObjects));
    this.#asked.set(withObjects, asking);
    return asking;
  }

  /** Notes how busy the thread has been; once a second. */
  look(): void {
    const now = this.#link?.utilization() ?? noUtilization;
    this.#looks = [this.#looks[1], now];
  }

  /** Ends a worker that does not answer within `limitMs`: its sessions could not be closed. */
  async endIfStuck(limitMs: number): Promise<void> {
    const link = this.#link;
    if (link === undefined || this.#state === 'starting') return;
    const call = link.call({ type: 'report', withObjects: false });
    // One that is gone is not stuck.
    if (
      await within(
        call.catch(() => undefined),
        limitMs,
      )
    )
      return;
    const message = `worker ${this.index} did not answer for ${limitMs} ms, and was ended`;
    await link.kill(new VerbenaError('ERR_VERBENA_WORKER_LOST', message));
  }

  /** Counts for sessions that are opened from now on, by this thread and those after it. */
  setOptions(options: SessionDataOptions): void {
    this.#sessionOptions = options;
    this.#link?.send({ type: 'options', options });
  }

  /** A worker that is lost from now on is not replaced. */
  retire(): void {
    this.#isReplaceable = false;
    clearTimeout(this.#retry);
  }

  /** Ends the thread, with all sessions closed before; resolves with what could not be released. */
  async stop(limitMs: number): Promise<unknown[]> {
    this.retire();
    const link = this.#link;
    let failures: WorkerAnswers['stop'] = [];
    if (link !== undefined && this.#state !== 'starting') {
      const asked = link.call({ type: 'stop' }).then((answer) => (failures = answer));
      await within(
        asked.catch(() => undefined),
        limitMs,
      );
    }
    await link?.terminate();
    this.#state = 'stopped';
    return failures.map(unpackError);
  }

  /** Ends the thread and starts another. */
  async renew(limitMs: number): Promise<unknown[]> {
    const failures = await this.stop(limitMs);
    this.#isReplaceable = true;
    await this.start();
    return failures;
  }

  // LinkListener

  onReady(): void {
    this.#state = 'ready';
    this.#failedStarts = 0;
    for (const { resolve } of this.#startWaiters.splice(0)) resolve();
  }

  onNews(id: number, news: SessionNews): void {
    for (const session of this.#sessions) {
      if (session.id === id) session.onNews(news);
    }
  }

  onEnd(reason: VerbenaError): void {
    const wasStarting = this.#state === 'starting';
    this.#past = countsAfterEnd(this.counts);
    this.#report = undefined;
    this.#link = undefined;
    this.#live = this.#newLive();
    this.#looks = [noUtilization, noUtilization];
    this.#state = this.#isReplaceable ? 'down' : 'stopped';
    for (const session of [...this.#sessions]) session.onWorkerLost(reason);
    const waiters = this.#startWaiters.splice(0);
    if (this.#isReplaceable && waiters.length === 0) this.#options.onLost(reason);
    if (this.#isReplaceable) this.#replace(wasStarting);
    for (const { reject } of waiters) reject(reason);
  }

  get #busy(): number {
    const utilization = this.#link?.utilization(this.#looks[0]).utilization ?? 0;
    return Number.isFinite(utilization) ? utilization : 0;
  }

  #begin(): void {
    this.#state = 'starting';
    const orders = {
      ...this.#options.orders,
      options: this.#sessionOptions,
      live: this.#live.buffer as SharedArrayBuffer,
    };
    this.#link = new WorkerLink(orders, this.#options.heapMb, this);
  }

  /** One that did not even start is likely to fail again. */
  #replace(hasFailedToStart: boolean): void {
    if (!hasFailedToStart) {
      this.#replacements++;
      this.#begin();
      return;
    }
    const delayMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failedStarts++);
    this.#retry = setTimeout(() => this.#begin(), delayMs);
    this.#retry.unref();
  }

  #onReport(link: WorkerLink, report: WorkerReport): void {
    if (link !== this.#link) return;
    this.#report = { ...report, objects: report.objects ?? this.#report?.objects };
    const figures = new Map(report.sessions);
    for (const session of this.#sessions) {
      const own = figures.get(session.id);
      if (own !== undefined) session.onFigures(own);
    }
  }

  #newLive(): Int32Array {
    const live = new Int32Array(new SharedArrayBuffer(LIVE_WORDS * Int32Array.BYTES_PER_ELEMENT));
    live[LiveWord.channelSize] = this.#channelSize;
    live[LiveWord.isShedding] = Number(this.#isShedding);
    return live;
  }

  #forget(data: RemoteSessionData): void {
    this.#sessions.delete(data);
    if (this.#sessions.size > 0) return;
    for (const wake of this.#emptyWaiters.splice(0)) wake();
  }
}
