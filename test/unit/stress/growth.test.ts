// The verdict on memory and descriptors of a process that serves clients again and again.
import { describe, expect, it } from 'vitest';
import { noObjects } from '../../../src/processes/live-objects.js';
import { growthOf, growthProblems } from '../../../src/stress/growth.js';
import type { Usage } from '../../../src/stress/usage.js';

const MiB = 1024 * 1024;
const flat: Usage = { rssBytes: 60 * MiB, heapBytes: 6 * MiB, descriptors: 20, live: noObjects };

const problemsOf = (warm: Usage[], last: Usage[]): string[] =>
  growthProblems('server', growthOf(warm, last));

describe('growth', () => {
  it('is none when all stays as it is, and when garbage lies about in some samples', () => {
    const dirty = { ...flat, heapBytes: 16 * MiB };
    expect(problemsOf([flat, flat], [flat, flat])).toEqual([]);
    expect(problemsOf([dirty, flat], [dirty, dirty, flat])).toEqual([]);
  });

  it.each([
    ['rssBytes', { rssBytes: 70 * MiB }],
    ['heapBytes', { heapBytes: 7 * MiB }],
    ['descriptors', { descriptors: 21 }],
    ['objects', { live: { ...noObjects, mr: 1 } }],
  ])('of %s is a problem', (what, change) => {
    const grown = { ...flat, ...change };
    const problems = problemsOf([flat], [grown, grown]);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(what);
  });
});
