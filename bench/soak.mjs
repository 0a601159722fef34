// A long run: small requests at a steady rate, beside idle connections and some that come and go.
// Requests are to take as long, and processes to use as much, at its end as at its beginning.
//
//   npm run --silent bench:soak -- [--minutes 60] [--interval 60] [--warm-up 2] [--rate 200]
//     [--connections 16] [--idle 200] [--visits 30] [--device soft] [--json] [--plots FOLDER]
//
// --interval  seconds of each line that it measures; --minutes counts them, --warm-up those before
// --visits    connections that come, ask once and leave, an interval
// --plots     where to draw soak.svg
// Heap is what the collector leaves, without compiled code. The exit status is 1 when the p99 of the
// last interval is more than 1.1 times that of the first, or when something grew: heap by 512 KiB,
// resident memory by 8 MiB, descriptors, registered memory or native objects at all (soak/judge.mjs
// has the rule).
// Build first with `npm run build`. stdout has the result; the lines go to stderr as they come.
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { makeDevCertificate } from '../dist/cli/dev-certificate.js';
import { drawPlots } from './lib/plots.mjs';
import { ask, end, start } from './lib/processes.mjs';
import { judge, processNames } from './soak/judge.mjs';

/**
 * By then what set-ups and requests run is compiled, which takes memory: at the rate of the run that
 * would go on for most of an hour.
 */
const WARM_UP_VISITS = 2000;
const WARM_UP_WORK = { depth: 4, bytes: 64, seconds: 5 };

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    interval: { type: 'string', default: '60' },
    'warm-up': { type: 'string', default: '2' },
    rate: { type: 'string', default: '200' },
    connections: { type: 'string', default: '16' },
    idle: { type: 'string', default: '200' },
    visits: { type: 'string', default: '30' },
    device: { type: 'string', default: 'soft' },
    json: { type: 'boolean', default: false },
    plots: { type: 'string' },
  },
});
const { device } = values;
const intervalMs = Number(values.interval) * 1000;
const [minutes, warmUp, rate, connections, idle, visits] = [
  ...[values.minutes, values['warm-up'], values.rate],
  ...[values.connections, values.idle, values.visits],
].map(Number);

/** The young generation has the size at once that it may grow to: 16 MiB, twice. */
const nodeOptions = ['--expose-gc', '--min-semi-space-size=16'];
const launch = (script) => start(import.meta.url, script, nodeOptions);
const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(2);

const certificate = await makeDevCertificate();
const server = launch('scale/server-process.mjs');
const visitors = launch('scale/client-process.mjs');
const client = launch('soak/client-process.mjs');

async function begin() {
  const { ca, cert, key } = certificate;
  const clients = connections + idle + 1;
  const { port } = await ask(server, { kind: 'verbena', device, cert, key, clients });
  await ask(visitors, { command: 'start', kind: 'verbena', device, port, ca });
  await ask(visitors, { command: 'cycle', count: WARM_UP_VISITS, atOnce: 4 });
  await ask(visitors, { command: 'connect', count: idle, atOnce: 8 });
  await ask(visitors, { command: 'work', count: idle, ...WARM_UP_WORK });
  await ask(client, { command: 'start', device, port, ca, rate, connections });
}

/** Connections come and go, one at a time, until then. */
async function visitUntil(endMs) {
  for (let left = endMs - performance.now(); left > 0; left = endMs - performance.now()) {
    await ask(visitors, { command: 'cycle', count: 1, atOnce: 1 });
    await pause(Math.max(0, Math.min(intervalMs / visits, endMs - performance.now())));
  }
}

/** What happened in the next interval, and what each process uses at its end. */
async function measure(at, endMs) {
  await visitUntil(endMs);
  const { usage, ...measured } = await ask(client, { command: 'interval' });
  const used = { server: await ask(server, 'usage'), client: usage };
  used.visitors = await ask(visitors, { command: 'usage' });
  const { connected } = used.server;
  const row = { at, ...measured, connected, expected: connections + idle, ...used };
  const heaps = processNames.map((name) => `${name} ${mebibytes(used[name].heapBytes)}`).join(', ');
  const times = `p50 ${row.p50Us.toFixed(1)} µs, p99 ${row.p99Us.toFixed(1)} µs`;
  console.error(`soak: ${at}: ${row.requests} requests, ${times}; heap in MiB: ${heaps}`);
  return row;
}

function show({ passed, p99, growth, problems, lateShare }) {
  const { firstUs, lastUs, ratio, earlyMedianUs, lateMedianUs } = p99;
  console.log(`p99: ${firstUs.toFixed(1)} µs first, ${lastUs.toFixed(1)} µs last: ${ratio} times`);
  console.log(
    `medians at both ends: ${earlyMedianUs.toFixed(1)} µs, ${lateMedianUs.toFixed(1)} µs`,
  );
  console.table(growth);
  for (const problem of problems) console.log(problem);
  console.log(`${(lateShare * 100).toFixed(2)} % of the requests were begun over 1 ms late`);
  console.log(passed ? 'flat' : 'not flat');
}

await begin();
const beganMs = performance.now();
const intervals = [];
for (let at = 1 - warmUp; at <= minutes; at++) {
  const row = await measure(at, beganMs + (at + warmUp) * intervalMs);
  if (at > 0) intervals.push(row);
}
const { lateShare } = await ask(client, { command: 'stop' });
await end([client, visitors, server]);
const verdict = judge(intervals);
const result = {
  ...{ rate, connections, idle, visits, intervalSeconds: intervalMs / 1000 },
  ...{ passed: verdict.problems.length === 0, ...verdict, lateShare, intervals },
};
if (values.json) console.log(JSON.stringify(result));
else show(result);
if (values.plots !== undefined) drawPlots(result, values.plots);
if (!result.passed) process.exitCode = 1;
