// Tries again what a server refused and said when to try again: not sooner, not all at once, not
// too often, and within the time that the caller gave.
import { RetryBudget } from '../admission/retry-budget.js';
import { VerbenaError } from '../errors.js';
import type { ResolvedRetryOptions } from './options.js';

/** Refusals that leave nothing done, so that another attempt repeats nothing. */
const refusals: ReadonlySet<string> = new Set([
  'ERR_VERBENA_RESOURCE_EXHAUSTED',
  'ERR_VERBENA_DRAINING',
  'ERR_VERBENA_PORT_NOT_ACTIVE',
]);
/** Those that wait for the same time come back over half as much again. */
const JITTER = 0.5;

export interface RetryCounts {
  /** Attempts after a refusal, of set-ups and requests. */
  retries: number;
  /** Refusals after which there was no other attempt, because retries had used up their share. */
  retriesDenied: number;
}

export interface RetryLimits {
  /** When there must be an answer, of `performance.now()`. */
  readonly deadline: number;
  readonly signal?: AbortSignal | undefined;
  /** False: a refusal that comes now is the last word. */
  readonly mayRetry?: () => boolean;
}

interface Wait {
  readonly timer: NodeJS.Timeout;
  readonly giveUp: () => void;
}

export class Retrier {
  readonly counts: RetryCounts = { retries: 0, retriesDenied: 0 };
  readonly #options: ResolvedRetryOptions;
  readonly #random: () => number;
  readonly #budget: RetryBudget;
  readonly #waits = new Set<Wait>();

  constructor(options: ResolvedRetryOptions, random: () => number = Math.random) {
    this.#options = options;
    this.#random = random;
    this.#budget = new RetryBudget(options.budgetPercent / 100);
  }

  /** The outcome of `attempt`, or of a later one. The last refusal is what it rejects with. */
  async run<T>(attempt: (isFirst: boolean) => Promise<T>, limits: RetryLimits): Promise<T> {
    this.#budget.earn();
    for (let retries = 0; ; retries++) {
      try {
        return await attempt(retries === 0);
      } catch (error) {
        const delayMs = this.#delayAfter(error, retries, limits);
        if (delayMs === undefined) throw error;
        await this.#wait(delayMs, error as VerbenaError, limits.signal);
        this.counts.retries++;
      }
    }
  }

  /** What waits for another attempt has none: it rejects with its refusal. */
  stop(): void {
    for (const { giveUp } of [...this.#waits]) giveUp();
  }

  #delayAfter(error: unknown, retries: number, limits: RetryLimits): number | undefined {
    if (!(error instanceof VerbenaError) || !refusals.has(error.code)) return undefined;
    if (limits.mayRetry?.() === false) return undefined;
    if (error.retryAfterMs === undefined || retries >= this.#options.maxRetries) return undefined;
    const delayMs = Math.ceil(error.retryAfterMs * (1 + JITTER * this.#random()));
    if (error.retryAfterMs > this.#options.maxDelayMs) return undefined;
    if (performance.now() + delayMs >= limits.deadline) return undefined;
    if (this.#budget.spend()) return delayMs;
    this.counts.retriesDenied++;
    return undefined;
  }

  #wait(delayMs: number, refusal: VerbenaError, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const over = (settle: () => void): void => {
        clearTimeout(wait.timer);
        this.#waits.delete(wait);
        signal?.removeEventListener('abort', onAbort);
        settle();
      };
      const onAbort = (): void => {
        const options = { cause: signal?.reason as unknown };
        const message = 'aborted while it waited to be tried again';
        over(() => reject(new VerbenaError('ERR_VERBENA_ABORTED', message, options)));
      };
      const wait: Wait = {
        timer: setTimeout(() => over(resolve), delayMs),
        giveUp: () => over(() => reject(refusal)),
      };
      this.#waits.add(wait);
      if (signal?.aborted === true) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}
