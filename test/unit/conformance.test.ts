// The comparison of the soft device with rxe by rdma-core's own tests.
import { describe, expect, it } from 'vitest';
import { readResults, shortcomings, sideBySide } from '../../scripts/conformance/results.mjs';

const report = (outcomes: Record<string, string>): string =>
  Object.entries(outcomes)
    .flatMap(([test, outcome]) => ['started', outcome].map((each) => ({ test, outcome: each })))
    .map((line) => JSON.stringify({ ...line, reason: '' }))
    .join('\n');
const results = (outcomes: Record<string, string>) => readResults(report(outcomes));

describe('the conformance of the soft device', () => {
  it('is complete when it passes what rxe passes and fails nothing', () => {
    const soft = results({ a: 'passed', b: 'passed', c: 'skipped' });
    expect(shortcomings(soft, results({ a: 'passed', b: 'failed', c: 'skipped' }))).toEqual([]);
  });

  it('lacks what fails, whatever rxe makes of it', () => {
    const soft = results({ a: 'failed', b: 'failed', c: 'failed' });
    const kernel = results({ a: 'passed', b: 'failed', c: 'skipped' });
    expect(shortcomings(soft, kernel)).toHaveLength(3);
  });

  it('lacks what rxe passes and it skips, or does not run at all', () => {
    const missing = shortcomings(results({ a: 'skipped' }), results({ a: 'passed', b: 'passed' }));
    expect(missing.map((each) => each.slice(0, each.indexOf(',')))).toEqual([
      'a: skipped',
      'b: not run',
    ]);
  });

  it('is open where rxe was not asked', () => {
    const soft = results({ a: 'passed', b: 'passed' });
    expect(shortcomings(soft, results({ a: 'passed' }))).toHaveLength(1);
  });

  it('counts a test that never ended as failed', () => {
    const started = JSON.stringify({ test: 'tests.a', outcome: 'started', reason: '' });
    expect(shortcomings(readResults(started), results({ a: 'skipped' }))).toHaveLength(1);
  });

  it('is shown beside that of rxe, with what the kernel fails', () => {
    const soft = results({ a: 'passed', b: 'passed', c: 'skipped' });
    const kernel = results({ a: 'passed', b: 'failed', c: 'skipped' });
    const [head, ...lines] = sideBySide(soft, kernel).split('\n');
    expect(head?.trim().split(/\s{2,}/)).toEqual([
      "rdma-core's own tests",
      'passed',
      'failed',
      'skipped',
    ]);
    expect(lines.map((line) => line.replaceAll(/\s+/g, ' '))).toEqual([
      'soft0 2 0 1',
      'rxe0 1 1 1',
      'b fails in the kernel; soft0: passed',
    ]);
  });
});
