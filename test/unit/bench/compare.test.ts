// Comparisons of results: what counts as better, worse, the same, or noise.
import { describe, expect, it } from 'vitest';
import { compareRuns, readRuns, type ComparedRun } from '../../../src/bench/compare.js';

function run(operationsPerSecond: number, changes: Partial<ComparedRun> = {}): ComparedRun {
  return {
    device: 'soft0',
    workload: 'echo',
    clients: 1,
    threads: 1,
    operationsPerSecond,
    latencyUs: { p50: 100, p99: 200, p99_9: 300 },
    complete: true,
    generatorSaturated: false,
    load: {
      bytes: { min: 64, max: 64 },
      ...{ connections: 1, depth: 1, rate: null },
      ...{ clientInstancesPerPool: null, threadsPerPool: null },
    },
    host: { cpu: 'x', cores: 2 },
    ...changes,
  };
}

const runs = (...rates: number[]): ComparedRun[] => rates.map((rate) => run(rate));
const verdictOf = (before: number[], after: number[]): string | undefined =>
  compareRuns(runs(...before), runs(...after), 0.05).changes[0]?.verdict;

describe('a comparison', () => {
  it.each([
    ['same', [100, 101, 99], [102, 103, 104]],
    ['better', [100, 101, 99], [120, 121, 119]],
    ['worse', [100, 101, 99], [80, 81, 79]],
    // The medians are far apart, and so are the runs of one side.
    ['noise', [100, 101, 60], [80, 81, 79]],
    ['worse', [100], [80]],
  ])('calls it %s when runs of %j become %j', (verdict, before, after) => {
    expect(verdictOf(before, after)).toBe(verdict);
  });

  it('has more latency for worse, and the median of an even number between its middle two', () => {
    const slow = run(100, { latencyUs: { p50: 100, p99: 260, p99_9: 300 } });
    const { changes, isWorse } = compareRuns(runs(100, 100), [slow, slow], 0.05);
    expect(changes.map(({ verdict }) => verdict)).toEqual(['same', 'same', 'worse', 'same']);
    expect(isWorse).toBe(true);
    const [rates] = compareRuns(runs(10, 20, 30, 40), runs(25), 0.05).changes;
    expect(rates?.before).toEqual({ runs: 4, median: 25, min: 10, max: 40 });
  });

  it('is of runs with the same load, and says when there are none', () => {
    const { load: other } = run(1000);
    const load = { ...other, bytes: { min: 1, max: 1 } };
    const both = [run(100), run(50, { load })];
    expect(compareRuns(both, [run(50, { load })], 0).changes).toHaveLength(4);
    const pooled = { ...other, clientInstancesPerPool: 1, threadsPerPool: 2 };
    for (const foreign of [load, pooled]) {
      const others = [run(50, { load: foreign })];
      expect(() => compareRuns(runs(1), others, 0)).toThrow(/no load in common/);
    }
  });

  it('warns of other devices and machines, of few runs, and of runs that were not right', () => {
    const other = run(1, {
      device: 'mlx5_0',
      host: { cpu: 'y', cores: 64 },
      complete: false,
      generatorSaturated: true,
    });
    const { warnings } = compareRuns(runs(1), [other], 0);
    expect(warnings).toEqual([
      'different devices, soft0 and mlx5_0: the soft device and hardware do not compare',
      'different machines, x × 2 and y × 64',
      'a run was not complete',
      'the load generator was a bottleneck itself in some of the runs',
      expect.stringMatching(/noise is not known/),
    ]);
    expect(compareRuns(runs(1, 2, 3), runs(1, 2, 3), 0).warnings).toEqual([]);
  });

  it('reads documents, series and lines of them', () => {
    const one = JSON.stringify(run(1));
    const series = JSON.stringify({ series: 'runs', points: runs(2, 3) });
    const rates = readRuns(`${one}\n${series}\n`).map((each) => each.operationsPerSecond);
    expect(rates).toEqual([1, 2, 3]);
    expect(() => readRuns(`${one}\n{`)).toThrow(/line 2 is no JSON/);
    expect(() => readRuns('{"device": 1}')).toThrow(/line 1 is no result/);
    expect(() => readRuns('')).toThrow(/no result in it/);
  });
});
