// Several runs, one after the other: over sizes, over rates, or the same again.
import type { BenchPlan } from './plan.js';
import type { BenchResult } from './result.js';

export const seriesKinds = ['bytes', 'rate', 'runs'] as const;
export type SeriesKind = (typeof seriesKinds)[number];

/** What changes from one run to the next. */
export interface Steps {
  readonly kind: SeriesKind;
  readonly values: readonly number[];
}

/** The document that `verbena bench --json` prints for a series. */
export interface SeriesResult {
  readonly series: SeriesKind;
  /** False when a run was not complete; none was begun after it. */
  readonly complete: boolean;
  /** Of rates: the highest that the server kept up with before the first that it did not. */
  readonly knee: number | null;
  readonly points: readonly BenchResult[];
}

/** A rate is kept up with when so much of it was reached. */
const keptUpShare = 0.97;

/** `min`, what lies above it of `first` and its doublings, and `max`. */
export function doublings(min: number, max: number, first = 1): number[] {
  const values = [min];
  for (let value = first; value < max; value *= 2) if (value > min) values.push(value);
  return max > min ? [...values, max] : values;
}

/** The plan of a run of a series. */
export function planAt(plan: BenchPlan, kind: SeriesKind, value: number): BenchPlan {
  const { load } = plan;
  switch (kind) {
    case 'bytes':
      return { ...plan, load: { ...load, bytes: { min: value, max: value } } };
    case 'rate':
      return { ...plan, load: { ...load, rate: value } };
    case 'runs':
      return plan;
  }
}

/** Exact, so that no two sizes read alike. */
function sizeText(bytes: number): string {
  if (bytes > 0 && bytes % 2 ** 20 === 0) return `${bytes / 2 ** 20} MiB`;
  return bytes > 0 && bytes % 2 ** 10 === 0 ? `${bytes / 2 ** 10} KiB` : `${bytes} B`;
}

/** A run in a few characters: what sets it apart from the others. */
export function labelAt(kind: SeriesKind, value: number): string {
  switch (kind) {
    case 'bytes':
      return sizeText(value);
    case 'rate':
      return `${value}/s`;
    case 'runs':
      return `run ${value}`;
  }
}

function isKeptUp({ operationsPerSecond, load, unsent, errors }: BenchResult): boolean {
  return (
    unsent === 0 && errors === 0 && operationsPerSecond >= (load.rate ?? Infinity) * keptUpShare
  );
}

function kneeOf(points: readonly BenchResult[]): number | null {
  const missed = points.findIndex((point) => !isKeptUp(point));
  const last = missed === -1 ? points.at(-1) : points[missed - 1];
  return last?.load.rate ?? null;
}

export function seriesOf({ kind, values }: Steps, points: readonly BenchResult[]): SeriesResult {
  return {
    series: kind,
    complete: points.length === values.length && points.every(({ complete }) => complete),
    knee: kind === 'rate' ? kneeOf(points) : null,
    points,
  };
}
