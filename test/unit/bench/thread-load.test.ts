// The load of a thread in virtual time: every latency is known beforehand, whatever the machine.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Latencies } from '../../../src/bench/histogram.js';
import type { Link } from '../../../src/bench/links.js';
import type { Load } from '../../../src/bench/plan.js';
import { ThreadLoad } from '../../../src/bench/thread-load.js';
import { parseMix } from '../../../src/bench/workload.js';

const load: Load = {
  workload: parseMix('echo'),
  bytes: { min: 8, max: 8 },
  ...{ connections: 1, pool: undefined, depth: 1, warmUpMs: 0, durationMs: 1000 },
  ...{ count: undefined, rate: 1000, arrivals: 'constant', verify: false },
  ...{ phaseSample: undefined, timeoutMs: 5000, highestLatencyMs: 60_000, digits: 3, seed: 1 },
};
const target = { device: '', host: '', port: 1, ca: undefined, rejectUnauthorized: true };

let nowMs = 0;
/** Reading the clock takes time too, so that whoever watches it gets on. */
const clockMs = 0.001;
beforeEach(() => {
  nowMs = 5000;
  vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += clockMs));
  vi.spyOn(Atomics, 'wait').mockImplementation((_array, _index, _value, ms = 0) => {
    nowMs += ms;
    return 'timed-out';
  });
});
afterEach(() => void vi.restoreAllMocks());

const serviceMs = 0.05;
const stallMs = 100;

/** Answers in the time that it takes, and stalls once, `afterMs` after it was made. */
function stallingLink(afterMs: number): Link {
  let stallAtMs = nowMs + afterMs;
  const request = (payload: Uint8Array): Promise<Uint8Array> => {
    if (nowMs >= stallAtMs) {
      stallAtMs = Infinity;
      nowMs += stallMs;
    }
    nowMs += serviceMs;
    return Promise.resolve(payload);
  };
  return { isOpen: true, regionLength: 0, request } as unknown as Link;
}

async function measure(changes: Partial<Load>): Promise<Latencies> {
  const orders = { clientId: 0, target, load: { ...load, ...changes }, phase: 0 };
  const threadLoad = new ThreadLoad(orders, [stallingLink(200)], () => Promise.reject(new Error()));
  await threadLoad.run();
  const latencies = new Latencies(load);
  latencies.add(threadLoad.meter.take().latencies);
  return latencies;
}

describe('an open loop', () => {
  it('counts from the planned time, so that a stall shows in all that it delays', async () => {
    const latencies = await measure({});
    expect(latencies.count).toBe(1000);
    // The one that stalls takes 100 ms. Behind it operations are planned every millisecond and
    // done every twentieth of one: each waits 0.95 ms less than the one before.
    const waits = Array.from({ length: 105 }, (_, index) => stallMs - 0.95 * index);
    const slow = (percent: number): number => waits[Math.floor(1000 - percent * 10)] ?? 0;
    for (const percent of [99.9, 99.5, 99, 95, 91]) {
      const wantedMs = slow(percent);
      expect(latencies.percentileUs(percent) / 1000, `p${percent}`).toBeGreaterThan(wantedMs - 1.5);
      expect(latencies.percentileUs(percent) / 1000, `p${percent}`).toBeLessThan(wantedMs + 2.5);
    }
    expect(latencies.summary().max / 1000).toBeCloseTo(stallMs, 0);
    expect(latencies.percentileUs(85) / 1000).toBeLessThan(0.5);
  });
});

describe('a closed loop', () => {
  it('shows the same stall once', async () => {
    const latencies = await measure({ rate: undefined });
    expect(latencies.count).toBeGreaterThan(5000);
    expect(latencies.summary().max / 1000).toBeCloseTo(stallMs, 0);
    expect(latencies.percentileUs(99.9) / 1000).toBeLessThan(2 * serviceMs);
  });
});
