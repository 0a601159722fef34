// Whether a server sheds load, and why: CPU, memory or the queue of requests is above its
// threshold, or was until a moment ago.
import { Threshold, type ThresholdOptions } from './threshold.js';

export const loadResources = ['cpu', 'memory', 'queue'] as const;
export type LoadResource = (typeof loadResources)[number];

/** In percent of what there is; CPU as the mean of the last five seconds. */
export type LoadReading = Readonly<Record<LoadResource, number>>;

/** In percent; 100 and more: never. */
export type LoadThresholds = Readonly<Record<LoadResource, number>>;

export interface LoadSheddingStats {
  readonly isActive: boolean;
  /** What there is too much of. */
  readonly reasons: readonly LoadResource[];
  /** How often each went above its threshold. */
  readonly timesOn: Readonly<Record<LoadResource, number>>;
  readonly reading: LoadReading;
}

/** What there is too much of, or no longer. */
export interface LoadChange {
  readonly resource: LoadResource;
  readonly isOn: boolean;
  readonly percent: number;
}

/** How far below its threshold a reading ends what it began. */
const MARGIN_PERCENT = 10;
/** The queue fills and drains in a moment: one reading says little. */
const QUEUE_READINGS = 2;
const READINGS_OFF = 4;

function optionsOf(resource: LoadResource, percent: number): ThresholdOptions {
  return {
    onAt: percent >= 100 ? Infinity : percent,
    offBelow: percent >= 100 ? Infinity : Math.max(1, percent - MARGIN_PERCENT),
    readingsOn: resource === 'queue' ? QUEUE_READINGS : 1,
    readingsOff: READINGS_OFF,
  };
}

function each<T>(make: (resource: LoadResource) => T): Record<LoadResource, T> {
  return { cpu: make('cpu'), memory: make('memory'), queue: make('queue') };
}

export class LoadShedder {
  readonly #thresholds: Record<LoadResource, Threshold>;
  readonly #timesOn = each(() => 0);
  #reading: LoadReading = each(() => 0);

  constructor(thresholds: LoadThresholds) {
    this.#thresholds = each((name) => new Threshold(optionsOf(name, thresholds[name])));
  }

  get reasons(): LoadResource[] {
    return loadResources.filter((resource) => this.#thresholds[resource].isOn);
  }

  get isActive(): boolean {
    return this.reasons.length > 0;
  }

  /** Counts from the next reading on. */
  set thresholds(thresholds: LoadThresholds) {
    for (const resource of loadResources) {
      this.#thresholds[resource].options = optionsOf(resource, thresholds[resource]);
    }
  }

  /** Takes the next reading, one every half second; returns what changed. */
  read(reading: LoadReading): LoadChange[] {
    this.#reading = reading;
    const changed = loadResources.filter((name) => this.#thresholds[name].read(reading[name]));
    return changed.map((resource) => {
      const { isOn } = this.#thresholds[resource];
      if (isOn) this.#timesOn[resource]++;
      return { resource, isOn, percent: reading[resource] };
    });
  }

  stats(): LoadSheddingStats {
    return {
      isActive: this.isActive,
      reasons: this.reasons,
      timesOn: { ...this.#timesOn },
      reading: this.#reading,
    };
  }
}
