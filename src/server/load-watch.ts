// Sheds load while there is too much of it: newcomers are refused, then requests of the clients
// with the most in flight.
import {
  LoadShedder,
  type LoadChange,
  type LoadReading,
  type LoadSheddingStats,
  type LoadThresholds,
} from '../admission/load-shedder.js';
import type { RequestQueue } from '../workers/data-plane.js';
import { READING_INTERVAL_MS, loadMeter, type LoadMeterOptions } from './load-meter.js';
import { AdmissionRefusal } from './refusal.js';

/** It takes so long, once the load is gone, until newcomers are welcome again. */
const RETRY_AFTER_MS = 4 * READING_INTERVAL_MS;

/** Hands out readings until the function that it returns is called. */
export type LoadSource = (onReading: (reading: LoadReading) => void) => () => void;

/** The load of this process, twice a second. */
export function processLoad(options: LoadMeterOptions): LoadSource {
  return (onReading) => {
    const read = loadMeter(options);
    const timer = setInterval(() => onReading(read()), READING_INTERVAL_MS);
    timer.unref();
    return () => clearInterval(timer);
  };
}

export interface LoadWatchOptions {
  readonly thresholds: LoadThresholds;
  readonly source: LoadSource;
  readonly queue: Pick<RequestQueue, 'isShedding'>;
  readonly onChange: (change: LoadChange) => void;
}

export class LoadWatch {
  readonly #shedder: LoadShedder;
  readonly #options: LoadWatchOptions;
  readonly stop: () => void;

  constructor(options: LoadWatchOptions) {
    this.#options = options;
    this.#shedder = new LoadShedder(options.thresholds);
    this.stop = options.source((reading) => this.#onReading(reading));
  }

  set thresholds(thresholds: LoadThresholds) {
    this.#shedder.thresholds = thresholds;
  }

  /** What newcomers are told; undefined when they are welcome. */
  refusal(): AdmissionRefusal | undefined {
    if (!this.#shedder.isActive) return undefined;
    const { reasons, reading } = this.#shedder.stats();
    const what = reasons.map((name) => `${name} at ${Math.round(reading[name])} %`).join(', ');
    return new AdmissionRefusal('shedding', `the server sheds load (${what})`, RETRY_AFTER_MS);
  }

  stats(): LoadSheddingStats {
    return this.#shedder.stats();
  }

  #onReading(reading: LoadReading): void {
    const changes = this.#shedder.read(reading);
    this.#options.queue.isShedding = this.#shedder.isActive;
    for (const change of changes) this.#options.onChange(change);
  }
}
