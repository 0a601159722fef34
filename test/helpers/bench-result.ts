// Results of `verbena bench` without a run, for what is made of them.
import { Latencies } from '../../src/bench/histogram.js';
import { PhaseHistograms, type PhasesUs } from '../../src/bench/phases.js';
import { alikeClients, type BenchPlan } from '../../src/bench/plan.js';
import { resultOf, type BenchResult } from '../../src/bench/result.js';
import { ThreadTally, Totals } from '../../src/bench/tally.js';
import { Timeline } from '../../src/bench/timeline.js';
import { parseMix } from '../../src/bench/workload.js';

const plan: BenchPlan = {
  target: {
    device: 'soft',
    host: '127.0.0.1',
    port: 4791,
    ca: undefined,
    rejectUnauthorized: true,
  },
  clients: alikeClients(2, 2, 0, undefined),
  load: {
    workload: parseMix('echo'),
    bytes: { min: 64, max: 64 },
    ...{ connections: 1, depth: 1, warmUpMs: 0, durationMs: 5000, count: undefined },
    ...{ rate: undefined, arrivals: 'constant', verify: false, timeoutMs: 5000 },
    ...{ phaseSample: undefined, pool: undefined },
    ...{ highestLatencyMs: 60_000, digits: 3, seed: 1 },
  },
  stopAtErrorShare: 1,
};

/** Samples whose phases grow one after the other. */
export function benchPhases(): PhasesUs {
  const histograms = new PhaseHistograms(plan.load);
  for (let each = 1; each <= 100; each += 1) {
    const parts = { clientQueue: 0.01, wire: 0.02, serverQueue: each / 1000, handler: 0.03 };
    histograms.record({ ...parts, back: 0.025, whole: 0.085 + each / 1000 });
  }
  return histograms.summary();
}

/** Five seconds of four threads whose latencies go round from 50 µs to 5 ms. */
export function benchResult(changes: Partial<BenchResult> = {}): BenchResult {
  const totals = new Totals(plan.load);
  const timeline = new Timeline(plan.load, 4, () => undefined);
  const threads = [0, 1, 2, 3].map((id) => new ThreadTally(id, `client${id >> 1}`, plan.load));
  for (let quarter = 0; quarter < 20; quarter += 1) {
    for (const thread of threads) {
      const latencies = new Latencies(plan.load);
      for (let each = 1; each <= 500; each += 1) {
        latencies.record(0.05 * (1 + thread.clientId / 4) * (1 + 100 * (each / 500) ** 20));
      }
      const interval = {
        ...{ fromMs: quarter * 250, toMs: (quarter + 1) * 250, operations: 500, bytes: 32_000 },
        ...{ errors: {}, warmUpOperations: 0, warmUpErrors: 0, latencies: latencies.take() },
      };
      thread.add(interval);
      totals.add(interval);
      timeline.add(interval, 0);
    }
  }
  timeline.closeUntil(Infinity);
  const outcome = { plan, threads, totals, series: timeline.seconds, problem: undefined };
  const startedAt = new Date('2026-01-02T03:04:05Z');
  return { ...resultOf({ ...outcome, isInterrupted: false, startedAt }), ...changes };
}
