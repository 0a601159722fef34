// The main thread's end of one worker: calls and their answers, news of its sessions, and its end,
// which nobody who waits for an answer is left without.
import type { EventLoopUtilization } from 'node:perf_hooks';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { VerbenaError, codeOf, messageOf } from '../errors.js';
import { packageRoot } from '../native/package.js';
import type {
  FromWorker,
  SessionNews,
  ToWorker,
  WorkerAnswers,
  WorkerCall,
  WorkerOrders,
} from './messages.js';
import { unpackError } from './thrown.js';

// By the package's root, because tests run the sources beside it, which no thread could load.
const script = join(packageRoot, 'dist', 'workers', 'worker-thread.js');

/** What a link tells its owner; the last of them is `onEnd`, which comes once. */
export interface LinkListener {
  onReady(): void;
  onNews(id: number, news: SessionNews): void;
  /** The thread is gone, and everything native of it. */
  onEnd(reason: VerbenaError): void;
}

interface WaitingCall {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** The process's own flags, but for one that a thread refuses: it is for a script in a flag. */
function threadFlags(flags: readonly string[]): string[] {
  return flags.filter(
    (flag, at) => !flag.startsWith('--input-type') && flags[at - 1] !== '--input-type',
  );
}

/** Why a worker ended that nobody had stopped, in words. */
function describeEnd(exitCode: number, error: unknown): string {
  if (error === undefined) return `it ended with status ${exitCode}, as by process.exit()`;
  if (codeOf(error) === 'ERR_WORKER_OUT_OF_MEMORY') return 'it ran out of memory';
  return `an exception was not caught: ${messageOf(error)}`;
}

export class WorkerLink {
  readonly #index: number;
  readonly #worker: Worker;
  readonly #listener: LinkListener;
  readonly #calls = new Map<number, WaitingCall>();
  #lastCall = 0;
  #uncaught: unknown;
  #lost: VerbenaError | undefined;
  /** Resolves when the thread is gone. */
  readonly ended: Promise<void>;

  constructor(orders: WorkerOrders, heapMb: number | undefined, listener: LinkListener) {
    this.#index = orders.index;
    this.#listener = listener;
    this.#worker = new Worker(script, {
      workerData: orders,
      name: `verbena worker ${orders.index}`,
      execArgv: threadFlags(process.execArgv),
      ...(heapMb === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: heapMb } }),
    });
    this.#worker.on('message', (message: FromWorker) => this.#onMessage(message));
    this.#worker.on('messageerror', (error) => this.#fail(error));
    this.#worker.on('error', (error) => this.#fail(error));
    this.ended = new Promise((resolve) => {
      this.#worker.once('exit', (exitCode) => {
        this.#onExit(exitCode);
        resolve();
      });
    });
  }

  get threadId(): number {
    return this.#worker.threadId;
  }

  /** Since `earlier`, or since the thread began. Not asked of the thread itself: it may be busy. */
  utilization(earlier?: EventLoopUtilization): EventLoopUtilization {
    return this.#lost === undefined
      ? this.#worker.performance.eventLoopUtilization(earlier)
      : { idle: 0, active: 0, utilization: 0 };
  }

  /** Rejects with ERR_VERBENA_WORKER_LOST when the worker ends before it has answered. */
  call<C extends WorkerCall>(call: C): Promise<WorkerAnswers[C['type']]> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    const number = ++this.#lastCall;
    return new Promise((resolve, reject) => {
      this.#calls.set(number, { resolve, reject });
      this.send({ type: 'call', number, call });
    });
  }

  send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  /** Ends the thread at once, whatever it does; resolves when it is gone. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
    await this.ended;
  }

  /** The same, and `reason` is what those hear who have to do with it. */
  kill(reason: VerbenaError): Promise<void> {
    this.#uncaught ??= reason;
    return this.terminate();
  }

  #onMessage(message: FromWorker): void {
    switch (message.type) {
      case 'ready':
        this.#listener.onReady();
        return;
      case 'unusable':
        this.#fail(unpackError(message.error));
        return;
      case 'answer':
        this.#take(message.number)?.resolve(message.value as never);
        return;
      case 'refusal':
        this.#take(message.number)?.reject(unpackError(message.error));
        return;
      case 'session':
        this.#listener.onNews(message.id, message.news);
    }
  }

  #take(number: number): WaitingCall | undefined {
    const call = this.#calls.get(number);
    this.#calls.delete(number);
    return call;
  }

  // The first reason is the one that counts; the thread may not know that it has one.
  #fail(error: unknown): void {
    this.#uncaught ??= error;
    void this.terminate();
  }

  #onExit(exitCode: number): void {
    const lost =
      this.#uncaught instanceof VerbenaError
        ? this.#uncaught
        : new VerbenaError(
            'ERR_VERBENA_WORKER_LOST',
            `worker ${this.#index} is gone: ${describeEnd(exitCode, this.#uncaught)}`,
            { cause: this.#uncaught },
          );
    this.#lost = lost;
    for (const { reject } of this.#calls.values()) reject(lost);
    this.#calls.clear();
    this.#listener.onEnd(lost);
  }
}
