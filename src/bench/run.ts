// Runs a plan from the start of its client processes to the result; no process outlives it.
import { ManagedProcess, settlesWithin } from '../processes/managed-process.js';
import type { FromThread, ThreadOrders, ToClient } from './messages.js';
import { PhaseHistograms } from './phases.js';
import { clientIds, countThreads, shareOf, type BenchPlan, type ClientPlan } from './plan.js';
import { resultOf, type BenchResult } from './result.js';
import { Totals, ThreadTally } from './tally.js';
import { Timeline, type Second } from './timeline.js';
import { monotonicMs } from './meter.js';

/** Errors are no trend before there were so many operations. */
const fewOperations = 100;
const leaveTimeoutMs = 5000;
/** By then the threads have told of what they did. */
const tellingMs = 400;

export interface BenchHooks {
  /** Aborted when the user has had enough. */
  readonly signal: AbortSignal;
  /** Called for each second with what happened in it. */
  readonly onSecond?: (second: Second, totals: Totals) => void;
}

type ClientProcess = ManagedProcess<ToClient, FromThread>;

export class BenchRun {
  readonly #plan: BenchPlan;
  readonly #hooks: BenchHooks;
  readonly #threads = new Map<number, ThreadTally>();
  readonly #processes: ClientProcess[] = [];
  readonly #totals: Totals;
  readonly #timeline: Timeline;
  #hasBegun = false;
  #problem: string | undefined;
  #isStopped = false;
  #onReady: () => void = () => undefined;
  #onOver: () => void = () => undefined;
  readonly #ready = new Promise<void>((resolve) => (this.#onReady = resolve));
  readonly #over = new Promise<void>((resolve) => (this.#onOver = resolve));

  constructor(plan: BenchPlan, hooks: BenchHooks) {
    this.#plan = plan;
    this.#hooks = hooks;
    const { load } = plan;
    const phases = load.phaseSample === undefined ? undefined : new PhaseHistograms(load);
    this.#totals = new Totals(load, phases);
    this.#timeline = new Timeline(load, countThreads(plan), (second, totals) => {
      hooks.onSecond?.(second, totals);
    });
  }

  /** Resolves with the result, whatever went wrong. */
  async play(): Promise<BenchResult> {
    const startedAt = new Date();
    const { signal } = this.#hooks;
    const onAbort = (): void => this.#stop('it was interrupted');
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      this.#startAll();
      await Promise.race([this.#ready, this.#over]);
      if (!this.#isStopped) await this.#go();
      await this.#over;
    } finally {
      signal.removeEventListener('abort', onAbort);
      await this.#endAll();
    }
    return resultOf({
      plan: this.#plan,
      threads: [...this.#threads.values()],
      totals: this.#totals,
      series: this.#timeline.seconds,
      problem: this.#problem,
      isInterrupted: signal.aborted,
      startedAt,
    });
  }

  async #go(): Promise<void> {
    this.#hasBegun = true;
    this.#tellAll({ type: 'go' });
    // A second is shown when the threads have had the time to tell of it.
    const ticks = setInterval(
      () => this.#timeline.closeUntil(monotonicMs() - tellingMs),
      tellingMs,
    );
    await this.#over;
    clearInterval(ticks);
    this.#timeline.closeUntil(Infinity);
  }

  /** Lets the clients close their connections, but does not wait for ever. */
  async #endAll(): Promise<void> {
    const ended = Promise.all(this.#processes.map((process) => process.ended));
    await settlesWithin(ended, leaveTimeoutMs);
    await Promise.all(this.#processes.map((process) => process.stop()));
  }

  #startAll(): void {
    const threads = countThreads(this.#plan);
    let index = 0;
    for (const client of this.#plan.clients) {
      const orders = clientIds(client).map((clientId): ThreadOrders => {
        const load = shareOf(this.#plan.load, index, threads);
        const phase = index / threads;
        index += 1;
        this.#threads.set(clientId, new ThreadTally(clientId, client.name, load));
        return { clientId, target: this.#plan.target, load, phase };
      });
      this.#startOne(client, orders);
    }
  }

  #startOne(client: ClientPlan, threads: readonly ThreadOrders[]): void {
    const process: ClientProcess = new ManagedProcess(
      new URL('client-process.js', import.meta.url),
      (message) => this.#onMessage(message),
    );
    this.#processes.push(process);
    process.send({ type: 'start', softAddress: client.softAddress, threads });
    void process.ended.then((how) => {
      const said = process.output === '' ? '' : ` (its last words: ${process.output})`;
      const message = `the process of ${client.name} ${how ?? 'ended'}${said}`;
      for (const { clientId } of threads) this.#fail(clientId, undefined, message);
    });
  }

  #onMessage(message: FromThread): void {
    const thread = this.#threads.get(message.clientId);
    if (thread === undefined) return;
    switch (message.type) {
      case 'ready':
        thread.device = message.device;
        if ([...this.#threads.values()].every(({ device }) => device !== undefined)) {
          this.#onReady();
        }
        return;
      case 'interval':
        thread.add(message.interval);
        this.#totals.add(message.interval);
        this.#timeline.add(message.interval, thread.fromMs + this.#plan.load.warmUpMs);
        this.#checkErrors();
        return;
      case 'done':
        thread.end = message.end;
        if (message.end.lost !== undefined) {
          this.#problem ??= `client ${thread.clientId} lost a connection: ${message.end.lost}`;
        }
        this.#checkOver();
        return;
      case 'failed':
        this.#fail(message.clientId, message.code, message.message);
    }
  }

  /** Without all its threads a run is not what was asked for: the others stop. */
  #fail(clientId: number, code: string | undefined, message: string): void {
    const thread = this.#threads.get(clientId);
    if (thread === undefined || thread.isOver) return;
    thread.failure = { code, message };
    this.#stop(`client ${clientId}: ${message}`);
    this.#checkOver();
  }

  #checkErrors(): void {
    const { operations, errors } = this.#totals;
    const all = operations + errors;
    const { stopAtErrorShare } = this.#plan;
    if (all < fewOperations || errors / all <= stopAtErrorShare) return;
    this.#stop(`${errors} of ${all} operations failed, which is over the limit`);
  }

  #checkOver(): void {
    if ([...this.#threads.values()].every(({ isOver }) => isOver)) this.#onOver();
  }

  #stop(problem: string): void {
    this.#problem ??= problem;
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#tellAll({ type: 'stop' });
    // A thread that is still connecting does not listen; nothing was measured yet.
    if (!this.#hasBegun) this.#onOver();
  }

  #tellAll(command: ToClient): void {
    for (const process of this.#processes) process.send(command);
  }
}
