// Counts of several workers: their sum, and what stays of one that is gone.
import { describe, expect, it } from 'vitest';
import {
  addNumbers,
  countsAfterEnd,
  noCounts,
  type ThreadCounts,
} from '../../../src/workers/report.js';

/** Every number is `value`. */
function filled(value: number): ThreadCounts {
  const fill = (node: unknown): unknown => {
    if (typeof node === 'number') return value;
    if (Array.isArray(node)) return node.map(fill);
    return Object.fromEntries(
      Object.entries(node as object).map(([key, each]) => [key, fill(each)]),
    );
  };
  return fill(noCounts()) as ThreadCounts;
}

describe('addNumbers', () => {
  it('adds each number, at any depth', () => {
    expect(addNumbers(filled(2), filled(3))).toEqual(filled(5));
    expect(addNumbers(filled(2), noCounts())).toEqual(filled(2));
  });
});

describe('countsAfterEnd', () => {
  const counts = countsAfterEnd({
    ...filled(5),
    traffic: { ...filled(5).traffic, requests: 20, responses: 10, requestErrors: 3 },
  });

  it('keeps what happened', () => {
    expect(counts.requestDurations).toEqual(filled(5).requestDurations);
    expect(counts.pollGroup.completions).toBe(5);
    expect(counts.requestQueue.refused).toEqual(filled(5).requestQueue.refused);
    expect(counts.traffic.messagesSent).toBe(5);
  });

  it('has nothing of what there was', () => {
    expect(counts).toMatchObject({
      resources: noCounts().resources,
      registeredBytes: 0,
      pool: { lentBytes: 0, freeBytes: 0 },
      pollGroup: { hotCqs: 0, armedCqs: 0 },
      requestQueue: { pending: 0, finishedPerSecond: 0 },
      traffic: { answersWaiting: 0 },
    });
  });

  it('counts requests that were in work as abandoned', () => {
    expect(counts.traffic.requestsAbandoned).toBe(7);
  });
});
