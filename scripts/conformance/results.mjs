// What became of rdma-core's own tests on a device, and how the soft device compares with rxe.

const keys = ['passed', 'failed', 'skipped'];
const outcomeOf = (results, name) => results.get(name)?.outcome ?? 'not run';

/** Reads a report of record.py. The last line about a test counts; one that did not end failed. */
export function readResults(report) {
  const results = new Map();
  for (const line of report.split('\n').filter(Boolean)) {
    const { test, outcome, reason } = JSON.parse(line);
    const ended = outcome === 'started' ? { outcome: 'failed', reason: 'did not end' } : null;
    results.set(test.replace(/^tests\./, ''), ended ?? { outcome, reason });
  }
  return results;
}

export function count(device, results) {
  const counts = { device, passed: 0, failed: 0, skipped: 0 };
  for (const { outcome } of results.values()) counts[outcome] += 1;
  return counts;
}

/**
 * Where the soft device falls short: what fails there, and what passes on rxe and not there. So it
 * passes at least as many as rxe when nothing is left. What fails on rxe is the kernel's affair; a
 * test that rxe was not asked leaves the comparison open.
 */
export function shortcomings(soft, kernel) {
  const names = [...new Set([...soft.keys(), ...kernel.keys()])].sort();
  return names
    .filter((name) => {
      const [ours, theirs] = [outcomeOf(soft, name), outcomeOf(kernel, name)];
      const unknown = theirs === 'not run';
      return unknown || ours === 'failed' || (theirs === 'passed' && ours !== 'passed');
    })
    .map((name) => {
      const why = soft.get(name)?.reason ?? '';
      return `${name}: ${outcomeOf(soft, name)}, ${outcomeOf(kernel, name)} on rxe; ${why}`;
    });
}

/** Both devices side by side, a line each. */
export function sideBySide(soft, kernel) {
  const row = (cells) =>
    cells.map((cell, at) => (at === 0 ? cell.padEnd(22) : String(cell).padStart(9))).join('');
  const line = (counts) => row([counts.device, ...keys.map((key) => counts[key])]);
  const failing = [...kernel].filter(([, { outcome }]) => outcome === 'failed');
  return [
    row(["rdma-core's own tests", ...keys]),
    line(count('soft0', soft)),
    line(count('rxe0', kernel)),
    ...failing.map(([name]) => `${name} fails in the kernel; soft0: ${outcomeOf(soft, name)}`),
  ].join('\n');
}

/** The table of docs/soft-device.md, test by test. */
export function documentationTable(soft, kernel) {
  const names = [...new Set([...soft.keys(), ...kernel.keys()])].sort();
  const both = names.filter((name) =>
    [soft, kernel].every((results) => outcomeOf(results, name) === 'skipped'),
  );
  const [ours, theirs] = [count('soft0', soft), count('rxe0', kernel)];
  const row = (name) => `| \`${name}\` | ${outcomeOf(soft, name)} | ${outcomeOf(kernel, name)} |`;
  const total = (key) => `| **${key}** | **${ours[key]}** | **${theirs[key]}** |`;
  return [
    '| test | soft device | rxe |',
    '| --- | --- | --- |',
    ...keys.map(total),
    ...names.filter((name) => !both.includes(name)).map(row),
    '',
    `${both.length} tests are skipped on both, most of them for adapters of other vendors.`,
  ].join('\n');
}
