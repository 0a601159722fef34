// Counts durations in buckets: what it takes to note one is a comparison for each bucket below it.

/** Upper bounds of the buckets, in seconds; what is longer goes into one more. */
export const durationBounds: readonly number[] = [
  0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
  2.5, 5, 10,
];
const boundsMs = durationBounds.map((seconds) => seconds * 1000);

/** How many durations there were in each bucket, of `durationBounds` and beyond, and their sum. */
export interface Durations {
  readonly counts: readonly number[];
  readonly count: number;
  readonly sumSeconds: number;
}

export class DurationHistogram {
  readonly #counts = new Array<number>(durationBounds.length + 1).fill(0);
  #sumMs = 0;

  observe(ms: number): void {
    let bucket = 0;
    while (bucket < boundsMs.length && ms > (boundsMs[bucket] as number)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sumMs += ms;
  }

  durations(): Durations {
    return {
      counts: [...this.#counts],
      count: this.#counts.reduce((sum, count) => sum + count, 0),
      sumSeconds: this.#sumMs / 1000,
    };
  }
}

/** The durations that came after `earlier`. */
export function durationsSince(earlier: Durations, now: Durations): Durations {
  return {
    counts: now.counts.map((count, bucket) => count - (earlier.counts[bucket] ?? 0)),
    count: now.count - earlier.count,
    sumSeconds: now.sumSeconds - earlier.sumSeconds,
  };
}

/**
 * The duration, in seconds, that a share of all do not exceed, as exact as the buckets are: within
 * one it is taken to be spread evenly. Undefined when there were none.
 */
export function quantile({ counts, count }: Durations, share: number): number | undefined {
  if (count === 0) return undefined;
  const rank = share * count;
  let below = 0;
  for (const [bucket, inside] of counts.entries()) {
    if (below + inside >= rank && inside > 0) {
      const low = bucket === 0 ? 0 : (durationBounds[bucket - 1] as number);
      const high = durationBounds[bucket] ?? low;
      return low + ((high - low) * (rank - below)) / inside;
    }
    below += inside;
  }
  return durationBounds.at(-1);
}
