// Judges whether what a process uses stays flat while clients come and go.
import type { Usage } from './usage.js';

/**
 * What Node itself may still take after the warm-up: what it learns about types, and slack. Of
 * descriptors and native objects not one may be left.
 */
const allowances = {
  rssBytes: 8 * 1024 * 1024,
  heapBytes: 512 * 1024,
  descriptors: 0,
  objects: 0,
} as const;

export type Growth = Readonly<Record<keyof typeof allowances, number>>;

function figuresOf({ rssBytes, heapBytes, descriptors, live }: Usage): Growth {
  return { rssBytes, heapBytes, descriptors, objects: live.pd + live.cq + live.qp + live.mr };
}

const kinds = Object.keys(allowances) as (keyof Growth)[];

/**
 * What a process uses more at the end than after its warm-up. Of several samples the least counts:
 * garbage that is not collected yet adds to some, what is kept adds to all.
 */
export function growthOf(warm: readonly Usage[], last: readonly Usage[]): Growth {
  const least = (usages: readonly Usage[], kind: keyof Growth): number =>
    Math.min(...usages.map((usage) => figuresOf(usage)[kind]));
  return Object.fromEntries(
    kinds.map((kind) => [kind, least(last, kind) - least(warm, kind)]),
  ) as Growth;
}

/** One sentence for each thing that grew. */
export function growthProblems(who: string, growth: Growth): string[] {
  return kinds
    .filter((kind) => growth[kind] > allowances[kind])
    .map((kind) => `${who} grew by ${growth[kind]} ${kind} while clients came and went`);
}
