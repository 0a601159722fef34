// Judges a long run: whether requests took as long at its end as at its beginning, and whether what
// its processes use stayed flat.
import { growthOf, growthProblems } from '../../dist/stress/growth.js';

/** Of the p99 of the first interval, which the last one may have. */
const MOST_P99_RATIO = 1.1;
/** Memory is compared between this part of the intervals at each end. */
const END_PART = 1 / 6;

export const processNames = ['server', 'client', 'visitors'];

const least = (intervals, of) => Math.min(...intervals.map(of));
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

function problemsOf(intervals) {
  return intervals.flatMap(({ at, errors, lost, connected, expected }) => [
    ...Object.entries(errors).map(([code, count]) => `interval ${at}: ${count} times ${code}`),
    ...(lost > 0 ? [`interval ${at}: ${lost} connections were lost`] : []),
    ...(connected === expected
      ? []
      : [`interval ${at}: the server had ${connected} clients, not ${expected}`]),
  ]);
}

/** The first and the last sixth of the intervals. */
function endsOf(intervals) {
  const count = Math.max(1, Math.floor(intervals.length * END_PART));
  return [intervals.slice(0, count), intervals.slice(-count)];
}

/**
 * What a process grew by, from the least of the first sixth to the least of the last: garbage and
 * passing buffers add to some intervals, what is kept adds to all.
 */
function growthIn(name, intervals) {
  const ends = endsOf(intervals).map((part) => part.map((interval) => interval[name]));
  const [early, late] = ends.map((part) => least(part, (used) => used.registeredBytes ?? 0));
  return { ...growthOf(...ends), registeredBytes: late - early };
}

/** The medians of both ends decide nothing: they tell more on a machine that is not idle. */
function p99In(intervals) {
  const [firstUs, lastUs] = [intervals[0].p99Us, intervals.at(-1).p99Us];
  const ends = endsOf(intervals).map((part) => median(part.map(({ p99Us }) => p99Us)));
  const ratio = Number((lastUs / firstUs).toFixed(3));
  return { firstUs, lastUs, ratio, earlyMedianUs: ends[0], lateMedianUs: ends[1] };
}

/** What the intervals say, and each thing that is wrong with them in one sentence. */
export function judge(intervals) {
  const p99 = p99In(intervals);
  const problems = problemsOf(intervals);
  if (p99.ratio > MOST_P99_RATIO) problems.push(`p99 became ${p99.ratio} times what it was`);
  const growth = {};
  for (const name of processNames) {
    growth[name] = growthIn(name, intervals);
    problems.push(...growthProblems(name, growth[name]));
    if (growth[name].registeredBytes > 0) problems.push(`${name} has more registered memory`);
  }
  return { p99, growth, problems };
}
