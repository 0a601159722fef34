// Whether workers serve the sessions, how many, and how: the options, their defaults, and their
// check.
import { availableParallelism } from 'node:os';
import { integerOption } from '../connection/option-checks.js';
import type { RequestHandler } from '../connection/served-request.js';
import { VerbenaError } from '../errors.js';
import type { WorkerAffinity } from '../workers/affinity.js';
import { placementStrategies, type PlacementStrategy } from '../workers/placement.js';
import type { Session } from '../workers/session.js';

/** Threads beyond this help nobody. */
const MAX_WORKERS = 256;
/** For the main thread, and the device's own or the system. */
const PROCESSORS_LEFT = 2;
const channelRange = { min: 1, max: 1_000_000 };

export interface WorkerOptions {
  /**
   * Called for each request. What it returns is the response; what it throws is an error for that
   * request only. With workers it must be the URL of a module that exports it as default, which
   * each of them loads: `new URL('./handler.mjs', import.meta.url)`.
   */
  readonly handler: RequestHandler<Session> | URL;
  /**
   * Threads that serve the sessions; 0 (default): this thread does, `'auto'`: one for each
   * processor but two, and at least one. See docs/tuning.md for when they are worth it.
   */
  readonly workers?: number | 'auto' | undefined;
  /** How a new session finds its worker; default `'round-robin'`. */
  readonly workerStrategy?: PlacementStrategy | undefined;
  /** Whether each worker is bound to a processor, and to which; default `'off'`. */
  readonly workerAffinity?: WorkerAffinity | undefined;
  /** Requests that a worker has taken and not answered, at most; default 256. */
  readonly workerChannelSize?: number | undefined;
  /** Answers of a worker that wait to be sent; beyond, it takes no requests. Default 512. */
  readonly senderChannelSize?: number | undefined;
  /** Memory for JavaScript objects of each worker, in MiB; default: what Node gives a thread. */
  readonly workerHeapMb?: number | undefined;
}

export interface ResolvedWorkerOptions {
  readonly handler: RequestHandler<Session> | URL;
  /** How many; 0: none. */
  readonly workers: number;
  readonly workerStrategy: PlacementStrategy;
  readonly workerAffinity: WorkerAffinity;
  readonly workerChannelSize: number;
  readonly senderChannelSize: number;
  readonly workerHeapMb: number | undefined;
}

function invalid(message: string): VerbenaError {
  return new VerbenaError('ERR_VERBENA_INVALID_OPTION', message);
}

/** How many workers are meant. */
function workersOption(value: WorkerOptions['workers']): number {
  if (value !== 'auto') return integerOption('workers', value, 0, { min: 0, max: MAX_WORKERS });
  return Math.min(MAX_WORKERS, Math.max(1, availableParallelism() - PROCESSORS_LEFT));
}

function checkHandler(handler: unknown, workers: number): void {
  if (handler instanceof URL) return;
  if (typeof handler !== 'function') {
    throw invalid('handler must be a function, or the URL of a module whose default export is one');
  }
  if (workers === 0) return;
  throw invalid(
    'with workers, handler must be the URL of a module, because a function cannot be given to ' +
      'another thread: put `export default` before it in a file of its own, and give ' +
      "`new URL('./handler.mjs', import.meta.url)`",
  );
}

function strategyOption(value: PlacementStrategy = 'round-robin'): PlacementStrategy {
  if (placementStrategies.includes(value)) return value;
  const choices = placementStrategies.join(', ');
  throw invalid(`workerStrategy must be one of ${choices}, not ${JSON.stringify(value)}`);
}

function affinityOption(value: WorkerAffinity = 'off'): WorkerAffinity {
  if (value === 'off' || value === 'auto') return value;
  const isList =
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((each: unknown) => Number.isInteger(each) && (each as number) >= 0);
  if (isList) return value as readonly number[];
  throw invalid("workerAffinity must be 'off', 'auto' or a list of processor numbers");
}

/** Checks them; throws ERR_VERBENA_INVALID_OPTION that names the first wrong one. */
export function resolveWorkerOptions(options: WorkerOptions): ResolvedWorkerOptions {
  const { handler, workerHeapMb } = options;
  const channel = (name: 'workerChannelSize' | 'senderChannelSize', fallback: number): number =>
    integerOption(name, options[name], fallback, channelRange);
  const workers = workersOption(options.workers);
  checkHandler(handler, workers);
  return {
    handler,
    workers,
    workerStrategy: strategyOption(options.workerStrategy),
    workerAffinity: affinityOption(options.workerAffinity),
    workerChannelSize: channel('workerChannelSize', 256),
    senderChannelSize: channel('senderChannelSize', 512),
    workerHeapMb:
      workerHeapMb === undefined
        ? undefined
        : integerOption('workerHeapMb', workerHeapMb, 0, { min: 16, max: 2 ** 20 }),
  };
}
