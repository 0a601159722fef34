// Plans: who bears which part of a load, what is announced, and which options make no sense.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  alikeClients,
  clientIds,
  describeConnections,
  shareOf,
  type BenchPlan,
  type Load,
} from '../../../src/bench/plan.js';
import { drawFrom, parseMix } from '../../../src/bench/workload.js';
import { randomFrom } from '../../../src/random.js';
import { refusalOf } from '../../helpers/bench.js';

const load: Load = {
  workload: parseMix('echo'),
  bytes: { min: 64, max: 64 },
  connections: 1,
  depth: 1,
  warmUpMs: 0,
  durationMs: undefined,
  count: 1000,
  rate: undefined,
  arrivals: 'constant',
  verify: false,
  phaseSample: undefined,
  pool: undefined,
  timeoutMs: 5000,
  highestLatencyMs: 60_000,
  digits: 3,
  seed: 1,
};

function planOf(clients: number, threads: number, connections: number): BenchPlan {
  return {
    target: { device: 'soft', host: 'h', port: 1, ca: undefined, rejectUnauthorized: true },
    clients: alikeClients(clients, threads, 0, undefined),
    load: { ...load, connections },
    stopAtErrorShare: 1,
  };
}

describe('the shares of threads', () => {
  it('are the whole together, whatever their number', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e9 }), fc.integer({ min: 1, max: 64 }), (count, n) => {
        const shares = Array.from({ length: n }, (_, index) =>
          shareOf({ ...load, count, rate: 1000 }, index, n),
        );
        expect(shares.reduce((sum, share) => sum + (share.count ?? 0), 0)).toBe(count);
        expect(shares.reduce((sum, { rate }) => sum + (rate ?? 0), 0)).toBeCloseTo(1000);
        expect(new Set(shares.map(({ seed }) => seed)).size).toBe(n);
      }),
    );
  });
});

describe('a plan', () => {
  it('gives every thread an id of its own', () => {
    const ids = alikeClients(4, 4, 7, undefined).flatMap(clientIds);
    expect(ids).toEqual(Array.from({ length: 16 }, (_, index) => 7 + index));
  });

  it('says how many connections it makes', () => {
    expect(describeConnections(planOf(1, 4, 1))).toBe(
      '1 process × 4 threads × 1 connection = 4 connections',
    );
    expect(describeConnections(planOf(2, 1, 50))).toBe(
      '2 processes × 1 thread × 50 connections = 100 connections',
    );
    const pool = { clientInstancesPerPool: 3, connectionsPerInstance: 50, threadsPerPool: 4 };
    const pooled = (clients: number): BenchPlan => {
      const plan = planOf(clients, 2, 150);
      return { ...plan, load: { ...plan.load, pool } };
    };
    expect(describeConnections(pooled(1))).toBe(
      '2 pools × 3 instances × 50 connections = up to 300 connections, each pool shared by ' +
        '4 threads,',
    );
    expect(describeConnections(pooled(2))).toMatch(
      '2 processes × 2 pools × 3 instances × 50 connections = up to 600 connections',
    );
  });
});

describe('a mix', () => {
  it('is drawn by its weights', () => {
    const draw = drawFrom(parseMix('echo=70,read=20,fetch-add=10'), randomFrom(5));
    const counts: Record<string, number> = {};
    for (let drawn = 0; drawn < 10_000; drawn += 1) {
      const operation = draw();
      counts[operation] = (counts[operation] ?? 0) + 1;
    }
    expect((counts['echo'] ?? 0) / 10_000).toBeCloseTo(0.7, 1);
    expect((counts['read'] ?? 0) / 10_000).toBeCloseTo(0.2, 1);
    expect((counts['fetch-add'] ?? 0) / 10_000).toBeCloseTo(0.1, 1);
  });

  it.each([
    ['', /no operation ""/],
    ['ping', /no operation "ping": choose from echo/],
    ['echo=0', /weight of echo/],
    ['echo=1=2', /weight of echo/],
    ['echo=x', /weight of echo/],
    ['echo,echo', /named twice/],
  ])('is refused when it is "%s"', (text, pattern) => {
    expect(() => parseMix(text)).toThrow(pattern);
  });
});

describe('options', () => {
  it.each([
    ['--ca x --insecure', /--ca and --insecure exclude each other/],
    ['--duration 1 --count 5', /--duration and --count exclude each other/],
    ['--arrivals poisson', /open loop; give --rate/],
    ['--arrivals often --rate 5', /Allowed choices are constant, poisson/],
    ['--rate 0', /number from 0\.001/],
    ['--workload swim', /no operation "swim"/],
    ['--workload write --bytes 0', /write needs bytes/],
    ['--bytes 64..1', /range such as/],
    ['--bytes 1GiB', /number of bytes up to/],
    ['--count 3 --client-threads 4', /less than the 4 threads/],
    ['--soft-addr 127.0.0.9 --clients 2', /cannot be shared by 2 clients/],
    ['--digits 5 --highest-latency 3600 --clones 64', /histograms .* would take \d+ MiB/],
    ['--digits 6', /from 1 to 5/],
    ['--sweep 1..64 --bytes 5', /--bytes and --sweep exclude each other/],
    ['--sweep 0..64 --workload read', /read needs bytes/],
    ['--rate-steps 5 --rate 5', /--rate and --rate-steps exclude each other/],
    ['--runs 2 --rate-steps 5,6', /--rate-steps and --runs exclude each other/],
    ['--rate-steps 6,5', /rising numbers/],
    ['--rate-steps 0..8', /rising numbers/],
    ['--rate-steps 1..8:0', /rising numbers/],
    ['--rate-steps fast', /rising numbers/],
    ['--runs 1', /from 2 to/],
    ['--phase-sample 4', /--phase-sample is for --phases; give --phases too/],
    ['--phases --workload read', /which only echo and send make; give --workload a share of/],
    ['--threads-per-pool 2 --client-threads 4', /--client-threads .* give --client-instance-pools/],
    ['--client-instance-pools 2 --clones 4', /--clones .* give --client-instance-pools/],
    ['--client-instances-per-pool 2 --connections 4', /give --connections-per-instance instead/],
    ['--connections-per-instance 2 --workload echo,read', /read needs .* leave out the options of/],
  ])('are refused: %s', async (args, pattern) => {
    const { code, message } = await refusalOf(...args.split(' '));
    expect(code).toBe(2);
    expect(message).toMatch(pattern);
  });
});
