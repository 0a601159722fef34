// The demo's verdict and figures.
import { describe, expect, it } from 'vitest';
import {
  formatBytes,
  isGood,
  summaryOf,
  type DemoResult,
} from '../../../../src/cli/demo/result.js';
import { noObjects } from '../../../../src/processes/live-objects.js';

const good: DemoResult = {
  device: 'soft0',
  clients: 2,
  connected: 2,
  uniquePsns: 2,
  requests: 20,
  errors: 0,
  bytesVerified: 3 * 1024 ** 2,
  latencyUs: { p50: 10, p99: 99 },
  requestsPerSecond: 1234.5,
  leaked: noObjects,
};

describe('isGood', () => {
  it('accepts a run in which everything was right', () => {
    expect(isGood(good)).toBe(true);
  });

  it.each([
    ['an error', { errors: 1 }],
    ['a client that did not connect', { connected: 1 }],
    ['sequence numbers that two sessions shared', { uniquePsns: 1 }],
    ['a protection domain left over', { leaked: { ...noObjects, pd: 1 } }],
    ['a memory region left over', { leaked: { ...noObjects, mr: 1 } }],
  ])('refuses %s', (_, change) => {
    expect(isGood({ ...good, ...change })).toBe(false);
  });
});

describe('summaryOf', () => {
  it('tells the figures and the verdict', () => {
    const text = summaryOf(good, []);
    expect(text).toContain('2 of 2 connected, 2 unique PSN pairs');
    expect(text).toContain('3.0 MiB');
    expect(text).toContain('Every byte and counter was right.');
  });

  it('lists each error and says that the demo failed', () => {
    const text = summaryOf({ ...good, errors: 2 }, ['client0: lost', 'the server was ended']);
    expect(text).toContain('client0: lost');
    expect(text).toContain('the server was ended');
    expect(text).toContain('The demo failed.');
  });
});

describe('formatBytes', () => {
  it('uses KiB below one MiB', () => {
    expect(formatBytes(512)).toBe('0.5 KiB');
    expect(formatBytes(1024 ** 2)).toBe('1.0 MiB');
  });
});
