// Judges a long run: whether requests took as long at its end as at its beginning, and whether what
// its processes use stayed flat.
import { growthOf, growthProblems } from '../../dist/stress/growth.js';

/** Of the p99 of the first interval, which the last one may have. */
const MOST_P99_RATIO = 1.1;
/** Memory is compared between this part of the intervals at each end. */
const END_PART = 1 / 6;

export const processNames = ['server', 'client', 'visitors'];

const least = (intervals, of) => Math.min(...intervals.map(of));

function problemsOf(intervals) {
  return intervals.flatMap(({ at, errors, lost, connected, expected }) => [
    ...Object.entries(errors).map(([code, count]) => `interval ${at}: ${count} times ${code}`),
    ...(lost > 0 ? [`interval ${at}: ${lost} connections were lost`] : []),
    ...(connected === expected
      ? []
      : [`interval ${at}: the server had ${connected} clients, not ${expected}`]),
  ]);
}

/**
 * The p99 of the last interval against the first's, and what each process grew by from the least of
 * the first sixth of the intervals to the least of the last: garbage and passing buffers add to
 * some of them, what is kept adds to all.
 */
export function judge(intervals) {
  const count = Math.max(1, Math.floor(intervals.length * END_PART));
  const [early, late] = [intervals.slice(0, count), intervals.slice(-count)];
  const [firstUs, lastUs] = [intervals[0].p99Us, intervals.at(-1).p99Us];
  const p99 = { firstUs, lastUs, ratio: Number((lastUs / firstUs).toFixed(3)) };
  const problems = problemsOf(intervals);
  if (p99.ratio > MOST_P99_RATIO) problems.push(`p99 became ${p99.ratio} times what it was`);
  const growth = {};
  for (const name of processNames) {
    const used = (part) => part.map((interval) => interval[name]);
    const registered = (part) => least(used(part), ({ registeredBytes }) => registeredBytes ?? 0);
    growth[name] = {
      ...growthOf(used(early), used(late)),
      registeredBytes: registered(late) - registered(early),
    };
    problems.push(...growthProblems(name, growth[name]));
    if (growth[name].registeredBytes > 0) problems.push(`${name} has more registered memory`);
  }
  return { p99, growth, problems };
}
