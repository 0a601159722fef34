// Latencies in an HdrHistogram: recorded in nanoseconds, moved between threads, merged, read in µs.
import { Float64Histogram } from 'hdr-histogram-js';

/** What is told apart: durations up to the highest, with so many significant digits. */
export interface HistogramRange {
  readonly highestLatencyMs: number;
  readonly digits: number;
}

/** Counts of a histogram by the index of their bucket, the others being 0. */
export interface SparseCounts {
  readonly indexes: Uint32Array;
  readonly counts: Float64Array;
  /** Exact, where the counts know only their buckets. */
  readonly minNs: number;
  readonly maxNs: number;
  readonly sumNs: number;
  /** Durations beyond the highest; they are counted as the highest. */
  readonly beyond: number;
}

/** Microseconds. */
export interface LatencyUs {
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p99_9: number;
  readonly p99_99: number;
  readonly p99_999: number;
  readonly max: number;
}

export const percentiles = {
  p50: 50,
  p90: 90,
  p99: 99,
  p99_9: 99.9,
  p99_99: 99.99,
  p99_999: 99.999,
} as const;

const nsPerMs = 1e6;
/** Points of a curve from 90 to 99 %, from 99 to 99.9 %, and so on. */
const curveSteps = 10;
/** Of all histograms of a run together. */
export const maxHistogramBytes = 2 ** 30;

/** Bytes that one histogram of the range takes, before it is made. */
export function histogramBytes({ highestLatencyMs, digits }: HistogramRange): number {
  const subBuckets = 2 ** Math.ceil(Math.log2(2 * 10 ** digits));
  const highest = highestLatencyMs * nsPerMs;
  const buckets = Math.max(1, Math.ceil(Math.log2(highest / subBuckets)) + 1);
  return (buckets + 1) * (subBuckets / 2) * Float64Array.BYTES_PER_ELEMENT;
}

export class Latencies {
  readonly #histogram: Float64Histogram;
  readonly #highestNs: number;
  #minNs = Infinity;
  #maxNs = 0;
  #sumNs = 0;
  #beyond = 0;

  constructor(range: HistogramRange) {
    this.#highestNs = Math.round(range.highestLatencyMs * nsPerMs);
    this.#histogram = new Float64Histogram(1, this.#highestNs, range.digits);
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  get beyond(): number {
    return this.#beyond;
  }

  /** The library's own, for its log format. */
  get hdr(): Float64Histogram {
    return this.#histogram;
  }

  record(ms: number): void {
    const exactNs = Math.max(0, Math.round(ms * nsPerMs));
    let ns = exactNs;
    if (ns > this.#highestNs) {
      this.#beyond += 1;
      ns = this.#highestNs;
    }
    if (exactNs < this.#minNs) this.#minNs = exactNs;
    if (exactNs > this.#maxNs) this.#maxNs = exactNs;
    this.#sumNs += exactNs;
    this.#histogram.recordValue(ns);
  }

  /** Everything recorded since the last time. */
  take(): SparseCounts {
    const histogram = this.#histogram;
    const indexes: number[] = [];
    const counts: number[] = [];
    for (let index = 0; index < histogram.countsArrayLength; index += 1) {
      const count = histogram.getCountAtIndex(index);
      if (count === 0) continue;
      indexes.push(index);
      counts.push(count);
    }
    const taken = {
      indexes: Uint32Array.from(indexes),
      counts: Float64Array.from(counts),
      minNs: this.#minNs,
      maxNs: this.#maxNs,
      sumNs: this.#sumNs,
      beyond: this.#beyond,
    };
    histogram.reset();
    this.#minNs = Infinity;
    this.#maxNs = 0;
    this.#sumNs = 0;
    this.#beyond = 0;
    return taken;
  }

  /** Adds counts that were taken from a histogram of the same range. */
  add({ indexes, counts, minNs, maxNs, sumNs, beyond }: SparseCounts): void {
    const histogram = this.#histogram;
    indexes.forEach((index, position) => {
      histogram.recordValueWithCount(histogram.valueFromIndex(index), counts[position] ?? 0);
    });
    this.#minNs = Math.min(this.#minNs, minNs);
    this.#maxNs = Math.max(this.#maxNs, maxNs);
    this.#sumNs += sumNs;
    this.#beyond += beyond;
  }

  /** Exact; 0 when there are none. */
  get meanUs(): number {
    return this.count === 0 ? 0 : this.#sumNs / this.count / 1000;
  }

  /** The latency that a share of all, in percent, did not exceed; 0 when there are none. */
  percentileUs(percent: number): number {
    if (this.count === 0) return 0;
    const ns = this.#histogram.getValueAtPercentile(percent);
    return Math.min(Math.max(ns, this.#minNs), this.#maxNs) / 1000;
  }

  /** Percentiles ever nearer to 100, as far as there are values to tell them apart, and 100. */
  curve(): (readonly [percent: number, us: number])[] {
    const points: (readonly [number, number])[] = [];
    for (let step = 0; 10 ** (step / curveSteps) <= this.count; step += 1) {
      const percent = 100 * (1 - 10 ** (-step / curveSteps));
      points.push([percent, this.percentileUs(percent)]);
    }
    return this.count === 0 ? [] : [...points, [100, this.#maxNs / 1000]];
  }

  /** All 0 when nothing was recorded. */
  summary(): LatencyUs {
    const isEmpty = this.count === 0;
    const at = (percent: number): number => this.percentileUs(percent);
    return {
      min: isEmpty ? 0 : this.#minNs / 1000,
      p50: at(percentiles.p50),
      p90: at(percentiles.p90),
      p99: at(percentiles.p99),
      p99_9: at(percentiles.p99_9),
      p99_99: at(percentiles.p99_99),
      p99_999: at(percentiles.p99_999),
      max: this.#maxNs / 1000,
    };
  }
}
