// `verbena bench` against a server that knows better: counts, latencies, and runs that go wrong. It
// does the same on any device, and emulated machines are slow.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HistogramLogReader } from 'hdr-histogram-js';
import { describe, expect, it } from 'vitest';
import { phaseNames, type PhaseName } from '../../../src/bench/phases.js';
import type { BenchResult } from '../../../src/bench/result.js';
import type { SeriesResult } from '../../../src/bench/series.js';
import type { ServerOptions } from '../../../src/index.js';
import { benchRuns } from '../../helpers/bench-run.js';
import { expectDocumented } from '../../helpers/bench-schema.js';
import { testDevice, timeScale } from '../../helpers/environment.js';
import { Family } from '../../helpers/family.js';
import { TestProcess, freePort, repository, verbena } from '../../helpers/process.js';
import { startServer, testCertificate } from '../../helpers/verbena.js';

const { bench, file, measure, fails, resultOf } = benchRuns();

/** A handler that takes its time, and notes how long it really took. */
function slowHandler(ms: number) {
  const tookUs: number[] = [];
  const handler: ServerOptions['handler'] = async ({ payload }) => {
    const startedMs = performance.now();
    await sleep(ms);
    tookUs.push((performance.now() - startedMs) * 1000);
    return payload;
  };
  const sorted = (): number[] => [...tookUs].sort((a, b) => a - b);
  const at = (share: number): number => sorted()[Math.ceil(tookUs.length * share) - 1] ?? 0;
  return { handler, at, sumUs: () => tookUs.reduce((sum, took) => sum + took, 0) };
}

/** What a histogram of three digits may be off by. */
const exactness = 0.999;

describe('latencies', () => {
  it('are the service time in a closed loop', async () => {
    const { handler, at, sumUs } = slowHandler(20);
    await using server = await startServer({ handler });
    const count = 40;
    const { latencyUs, seconds } = await measure(server, '--count', String(count));
    // Each latency is the handler's time and something more, and they follow on each other: what
    // they are more together is known, so at most one in ten has ten times its share of that.
    const moreUs = (10 * (seconds * 1e6 - sumUs())) / count;
    expect(latencyUs.p50).toBeGreaterThanOrEqual(at(0.5) * exactness);
    expect(latencyUs.p50).toBeLessThanOrEqual((at(0.6) + moreUs) / exactness);
    expect(latencyUs.min).toBeGreaterThanOrEqual(at(0) * exactness);
  });

  it('are the service time in an open loop that the server keeps up with', async () => {
    const { handler, at } = slowHandler(40);
    await using server = await startServer({ handler });
    const { latencyUs, operations } = await measure(
      server,
      ...['--rate', '100', '--depth', '16', '--count', '80'],
    );
    expect(operations).toBe(80);
    expect(latencyUs.p50).toBeGreaterThanOrEqual(at(0.5) * exactness);
    // On a busy machine any of them may be late, but not all.
    expect(latencyUs.min).toBeGreaterThanOrEqual(at(0) * exactness);
    expect(latencyUs.min).toBeLessThan(2 * at(0.5));
  });

  it('of an open loop show a stall to all whose time came meanwhile', async () => {
    const stallsMs: number[] = [];
    const stallMs = 100 * timeScale;
    let nextStallMs = Infinity;
    const handler: ServerOptions['handler'] = ({ payload }) => {
      const startedMs = performance.now();
      if (nextStallMs === Infinity) nextStallMs = startedMs + 2 * stallMs;
      if (startedMs >= nextStallMs) {
        nextStallMs = startedMs + 10 * stallMs;
        while (performance.now() < startedMs + stallMs);
        stallsMs.push(performance.now() - startedMs);
      }
      return payload;
    };
    await using server = await startServer({ handler });
    const rate = 250 / timeScale;
    const { latencyUs, operations } = await measure(
      server,
      ...['--rate', String(rate), '--count', '400'],
    );
    expect(operations).toBe(400);
    expect(stallsMs.length).toBeGreaterThanOrEqual(1);
    // Nothing is answered in a stall, so what was planned x ms before its end takes x ms or more:
    // that many are planned in those x ms, and so many are above a percentile.
    const leastMs = (share: number): number => {
      const rare = Math.ceil(operations * (1 - share)) + 1;
      return Math.max(...stallsMs) - (rare * 1000) / rate;
    };
    expect(leastMs(0.999)).toBeGreaterThan(0.9 * stallMs);
    expect(leastMs(0.99)).toBeGreaterThan(0.75 * stallMs);
    expect(latencyUs.p99_9).toBeGreaterThanOrEqual(leastMs(0.999) * 1000 * exactness);
    expect(latencyUs.p99).toBeGreaterThanOrEqual(leastMs(0.99) * 1000 * exactness);
    // And some came at other times; on a slow machine the queue that a stall left may be long.
    expect(latencyUs.min).toBeLessThan(latencyUs.p99 / 2);
  });
});

describe('phases', () => {
  it('have the time of a handler that waits in the handler', async () => {
    const { handler, at, sumUs } = slowHandler(20);
    await using server = await startServer({ handler });
    const { phasesUs, latencyUs } = await measure(
      server,
      ...['--count', '30', '--phases', '--phase-sample', '1'],
    );
    const means = expectWhole(phasesUs);
    expect(phasesUs?.sampled).toBe(30);
    expect(phasesUs?.whole.max).toBe(latencyUs.max);
    // It ends when its promise is seen to be settled, a little later than it says itself.
    expect(means.handler).toBeGreaterThanOrEqual(sumUs() / 30);
    expect(phasesUs?.handler.min).toBeGreaterThanOrEqual(at(0));
    expect(phasesUs?.handler.p50).toBeLessThanOrEqual(latencyUs.p50);
  });

  it('have the time of a server that is busy with others in its queue', async () => {
    const blockMs = 40;
    const handler: ServerOptions['handler'] = ({ payload }) => {
      const startedMs = performance.now();
      while (performance.now() < startedMs + blockMs);
      return payload;
    };
    await using server = await startServer({ handler });
    const { phasesUs } = await measure(
      server,
      ...['--count', '40', '--connections', '8', '--phases', '--phase-sample', '1'],
    );
    expectWhole(phasesUs);
    expect(phasesUs?.handler.min).toBeGreaterThanOrEqual(blockMs * 1000);
    // Each waits for seven others, of which the acknowledgement may take some: devices acknowledge
    // by themselves, on a busy machine when they get to it.
    expect(phasesUs?.serverQueue.p50).toBeGreaterThan(blockMs * 1000);
  });

  it('are those of large payloads and of an open loop too', async () => {
    await using server = await startServer();
    const { phasesUs, load } = await measure(
      server,
      ...['--count', '50', '--rate', '500', '--bytes', '4000..64KiB', '--depth', '4'],
      ...['--phases', '--phase-sample', '2', '--verify'],
    );
    expectWhole(phasesUs);
    expect(load.phaseSample).toBe(2);
    expect(phasesUs?.sampled).toBeGreaterThan(5);
    expect(phasesUs?.sampled).toBeLessThan(45);
    const { phasesUs: none } = await measure(server, '--count', '5');
    expect(none).toBeNull();
  });
});

/** The means of the phases, once they are found to add up to the whole. */
function expectWhole(phases: BenchResult['phasesUs']): Readonly<Record<PhaseName, number>> {
  const entries = phaseNames.map((name) => [name, phases?.[name].mean ?? 0] as const);
  const sum = entries.reduce((total, [, mean]) => total + mean, 0);
  // Each is recorded in whole nanoseconds.
  expect(Math.abs(sum - (phases?.whole.mean ?? 0))).toBeLessThan(0.004);
  return Object.fromEntries(entries) as Record<PhaseName, number>;
}

describe('totals', () => {
  it('are those of the server, from 16 threads with ids of their own', async () => {
    let served = 0;
    const names: string[] = [];
    await using server = await startServer({
      handler: ({ payload }) => {
        served += 1;
        return payload;
      },
    });
    server.on('session', ({ name }) => names.push(name));
    const result = await measure(
      server,
      ...['--clients', '4', '--client-threads', '4', '--clones', '9', '--base-client-id', '100'],
      ...['--count', '3203', '--warm-up', '0.1', '--depth', '4'],
    );
    const ids = Array.from({ length: 16 }, (_, index) => 100 + index);
    expect(result).toMatchObject({ clients: 4, threads: 16, operations: 3203 });
    expect(result.perThread.map(({ clientId }) => clientId)).toEqual(ids);
    expect(names.sort()).toEqual(ids.map((id) => `bench-${id}`).sort());
    expect(result.operations + result.warmUp.operations).toBe(served);
    expect(server.stats().traffic.responses).toBe(served);
    const sum = result.perThread.reduce((total, { operations }) => total + operations, 0);
    expect(sum).toBe(result.operations);
    expect(result.operationsPerSecond).toBeCloseTo(result.operations / result.seconds);
    const slowest = Math.max(...result.perThread.map(({ latencyUs }) => latencyUs.max));
    expect(result.latencyUs.max).toBe(slowest);
    const inSeries = result.series.reduce((total, { operations }) => total + operations, 0);
    expect(inSeries).toBe(result.operations);
  });

  it('are those of the clients that a plan lists', async () => {
    await using server = await startServer();
    const plan = file('plan');
    writeFileSync(plan, 'count: 600\ndepth: 2\nclient-threads: 2\none id=10\nother threads=1\n');
    const { perThread, operations, load } = await measure(server, '--plan', plan, '--depth', '3');
    expect(operations).toBe(600);
    expect(load.depth).toBe(3);
    expect(perThread.map(({ clientId, client }) => [clientId, client])).toEqual([
      [10, 'one'],
      [11, 'one'],
      [12, 'other'],
    ]);
  });

  it('are those of pools whose instances are shared', async () => {
    const names: string[] = [];
    await using server = await startServer();
    server.on('session', ({ name }) => names.push(name));
    const run = bench(server.address().port, [
      ...['--client-instance-pools', '2', '--client-instances-per-pool', '3'],
      ...['--connections-per-instance', '2', '--threads-per-pool', '4', '--depth', '3'],
      ...['--count', '601', '--warm-up', '0.05', '--phases', '--phase-sample', '1', '--verify'],
    ]);
    const { stdout, stderr } = await run.succeeded();
    const result = resultOf(stdout);
    expect(stderr).toContain('2 pools × 3 instances × 2 connections = up to 12 connections');
    expect(result).toMatchObject({ complete: true, errors: 0, operations: 601, threads: 2 });
    expect(result.warmUp.errors).toBe(0);
    expect(result.load).toMatchObject({
      ...{ clientInstancePools: 2, clientInstancesPerPool: 3, connectionsPerInstance: 2 },
      ...{ threadsPerPool: 4, connections: 6, depth: 3 },
    });
    expectWhole(result.phasesUs);
    expect(result.phasesUs?.sampled).toBe(601);
    const all = result.operations + result.warmUp.operations;
    expect(server.stats().traffic.responses).toBe(all);
    // Rounds of six on an instance need both of its connections.
    expect(names.length).toBeGreaterThan(2);
    expect(names.length).toBeLessThanOrEqual(12);
    expect(new Set(names)).toEqual(new Set(['bench-0', 'bench-1']));
  });

  it('count an answer to what needs none as an error', async () => {
    await using server = await startServer();
    const args = ['--count', '30', '--verify', '--workload', 'send', '--stop-on-errors', '100'];
    const { result } = await fails(server.address().port, ...args);
    expect(result).toMatchObject({ operations: 0, errors: 30, complete: true });
  });

  it('count an answer that is not what was sent as an error', async () => {
    let served = 0;
    await using server = await startServer({
      handler: ({ payload }) => {
        served += 1;
        if (served % 10 === 0) payload[0] = (payload[0] ?? 0) ^ 1;
        return payload;
      },
    });
    const args = ['--count', '100', '--verify'];
    const { result, stderr } = await fails(server.address().port, ...args);
    expect(result).toMatchObject({ operations: 90, errors: 10, complete: true });
    expect(result.errorCodes).toEqual({ DATA_MISMATCH: 10 });
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});

describe('a series', () => {
  it('steps through rates, is written to files, and compares with itself', async () => {
    await using server = await startServer();
    const [csv, hdr, json, html] = ['csv', 'hdr', 'json', 'html'].map((name) =>
      file(`rates.${name}`),
    );
    const { stdout } = await bench(server.address().port, [
      ...['--rate-steps', '100..200', '--count', '40', '--depth', '16'],
      ...['--csv', csv ?? '', '--hdr', hdr ?? '', '--html', html ?? ''],
    ]).succeeded();
    const series = JSON.parse(stdout) as SeriesResult;
    expect(series).toMatchObject({ series: 'rate', complete: true });
    series.points.forEach(expectDocumented);
    expect(series.points.map(({ load, operations }) => [load.rate, operations])).toEqual([
      [100, 40],
      [200, 40],
    ]);
    const [names = '', ...rows] = readFileSync(csv ?? '', 'utf8')
      .trim()
      .split('\n');
    const column = names.split(',').indexOf('operations');
    expect(rows.map((row) => row.split(',')[column])).toEqual(['40', '40']);
    const log = readFileSync(hdr ?? '', 'utf8');
    const counts = ['100/s', '200/s'].map((tag) => countIn(log, tag));
    expect(counts).toEqual([40, 40]);
    expect(readFileSync(html ?? '', 'utf8')).toMatch(/verbena bench .* --rate-steps 100\.\.200/);
    writeFileSync(json ?? '', stdout);
    const compared = await verbena(['bench', 'compare', json ?? '', json ?? '']).succeeded();
    expect(compared.stdout).toMatch(/Nothing became worse/);
  });
});

/** Latencies in an HdrHistogram log under a tag. */
function countIn(log: string, tag: string): number {
  const reader = new HistogramLogReader(log);
  let count = 0;
  for (let next = reader.nextIntervalHistogram(); next; next = reader.nextIntervalHistogram()) {
    if (next.tag === tag) count += next.totalCount;
  }
  return count;
}

describe('a run that goes wrong', () => {
  it('says that nothing listens', async () => {
    const { result, stderr } = await fails(await freePort(), '--clients', '2');
    expect(result).toMatchObject({ operations: 0, complete: false, seconds: 0 });
    expect(result.latencyUs.p99).toBe(0);
    expect(stderr).toMatch(/incomplete: client \d: .*nothing listens there/);
  });

  it('says that the server lends too little memory', async () => {
    await using server = await startServer({ regionBytes: 4096 });
    const args = ['--workload', 'write', '--bytes', '1KiB', '--depth', '8'];
    const { result } = await fails(server.address().port, ...args);
    expect(result.problem).toMatch(/lends 4096 bytes .* 1024 bytes need 8256: raise/);
  });

  it.each([
    ['connections', ['--clones', '2']],
    ['pools', ['--client-instance-pools', '2', '--connections-per-instance', '2']],
  ])('keeps what was measured before the server of its %s died', async (_, args) => {
    const { cert, key } = await testCertificate();
    const files = [file('cert.pem'), file('key.pem')] as const;
    writeFileSync(files[0], cert);
    writeFileSync(files[1], key);
    const script = join(repository, 'test/helpers/dying-server.mjs');
    await using server = new TestProcess(process.execPath, [script, testDevice, ...files, '500']);
    const [, port] = await server.waitFor(/port (\d+)/);
    const { result, stderr } = await fails(Number(port), '--duration', '1000', ...args);
    expect(result).toMatchObject({ complete: false, interrupted: false });
    expect(result.operations).toBeGreaterThanOrEqual(400);
    expect(result.operations).toBeLessThan(500);
    expect(result.latencyUs.p50).toBeGreaterThan(0);
    expect(result.problem).toMatch(/client \d lost a connection/);
    expect(stderr).toMatch(/warning: the run is incomplete/);
  });

  it('stops when too many operations fail', async () => {
    const handler = (): never => {
      throw new Error('always');
    };
    await using server = await startServer({ handler });
    const args = ['--duration', '1000', '--stop-on-errors', '20'];
    const { result } = await fails(server.address().port, ...args);
    expect(result.errors).toBeGreaterThanOrEqual(100);
    expect(Object.keys(result.errorCodes)).toEqual(['ERR_VERBENA_HANDLER']);
    expect(result.problem).toMatch(/operations failed, which is over the limit/);
  });

  it('sums up what ran when it is interrupted, and leaves no process', async () => {
    let onMany: () => void = () => undefined;
    const many = new Promise<void>((resolve) => (onMany = resolve));
    let served = 0;
    await using server = await startServer({
      handler: ({ payload }) => {
        served += 1;
        if (served === 300) onMany();
        return payload;
      },
    });
    await using run = bench(server.address().port, ['--duration', '1000', '--client-threads', '2']);
    await many;
    const family = new Family(run).note();
    run.child.kill('SIGINT');
    const { code, stdout } = await run.ended;
    expect(code).toBe(130);
    const result = resultOf(stdout);
    expect(result).toMatchObject({ complete: false, interrupted: true, errors: 0 });
    expect(result.operations).toBe(served);
    expect(family.running).toEqual([]);
  });
});
