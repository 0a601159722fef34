// What a server does with ten times what it can serve, and with many streams at once: goodput, the
// latency of what it takes, what it says to the rest, and whether it still answers /healthz.
//
//   npm run --silent bench:overload -- [--capacity 250] [--queue-size 12] [--seconds 10]
//                                      [--streams 1000] [--device soft] [--json]
//
// --capacity    requests a second that the handler can serve: it takes 1/capacity s of one resource
// --queue-size  requests that the server takes at once; the rest is refused
// Build first with `npm run build`. stdout has the result; the steps go to stderr.
import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { makeDevCertificate } from '../dist/cli/dev-certificate.js';

const REFUSAL = 'ERR_VERBENA_RESOURCE_EXHAUSTED';
const HEALTH_INTERVAL_MS = 50;
/** Enough that no operation waits for a free one: answers take milliseconds. */
const LANES = { connections: 16, depth: 64, arrivals: 'poisson' };
/** Of the load with many streams, and with one. */
const BELOW_SATURATION = 0.5;

const { values } = parseArgs({
  options: {
    capacity: { type: 'string', default: '250' },
    'queue-size': { type: 'string', default: '12' },
    seconds: { type: 'string', default: '10' },
    streams: { type: 'string', default: '1000' },
    device: { type: 'string', default: 'soft' },
    json: { type: 'boolean', default: false },
  },
});
const capacity = Number(values.capacity);
const seconds = Number(values.seconds);
const streams = Number(values.streams);
const { device } = values;

const say = (text) => console.error(`overload: ${text}`);
const round = (number) => Math.round(number * 10) / 10;
const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

async function ask(child, message) {
  child.send(message);
  const [answer] = await once(child, 'message');
  return answer;
}

/** Watches /healthz until the returned function is called, which gives the longest answer in ms. */
function watchHealth(url) {
  let longestMs = 0;
  let isOver = false;
  const watching = (async () => {
    while (!isOver) {
      const startMs = performance.now();
      const response = await fetch(new URL('/healthz', url));
      await response.text();
      longestMs = Math.max(longestMs, response.ok ? performance.now() - startMs : Infinity);
      await pause(HEALTH_INTERVAL_MS);
    }
  })();
  return async () => {
    isOver = true;
    await watching;
    return longestMs;
  };
}

/** Resolves when the server takes clients again after what was before. */
async function ready(url) {
  while (!(await fetch(new URL('/readyz', url))).ok) await pause(HEALTH_INTERVAL_MS);
}

/** What a program printed; refusals make it fail, and are what is looked for. */
async function outputOf(args) {
  const run = promisify(execFile)(process.execPath, args, { maxBuffer: 2 ** 26 });
  const { stdout, stderr } = await run.catch((error) => error);
  if (stdout === '') throw new Error(stderr);
  return stdout;
}

/** Of the curve of a result: its points are closer than one needs. */
const percentile = ({ curve }, percent) => curve.find(([at]) => at >= percent)?.[1] ?? 0;

/** One run of `verbena bench` in an open loop. */
async function load({ port, adminUrl, ca }, rate, { connections, depth, arrivals }) {
  await ready(adminUrl);
  const options = {
    ca,
    device,
    rate: String(Math.round(rate)),
    arrivals,
    connections: String(connections),
    depth: String(depth),
    duration: String(seconds),
    'warm-up': '2',
    'stop-on-errors': '100',
  };
  const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  const args = [cli, 'bench', `127.0.0.1:${port}`, ...flags, '--json'];
  const result = JSON.parse(await outputOf(args));
  const { operationsPerSecond, latencyUs, errorCodes, problem, saturation } = result;
  const codes = Object.entries(errorCodes).map(([code, count]) => `${code} ${count}`);
  say(
    `${Math.round(rate)} a second on ${connections} connections: ` +
      `${Math.round(operationsPerSecond)} answered, p50 ${Math.round(latencyUs.p50)} µs, ` +
      `p99 ${Math.round(latencyUs.p99)} µs${codes.length > 0 ? `; ${codes.join(', ')}` : ''}`,
  );
  for (const trouble of [problem, ...saturation]) if (trouble !== null) say(`  ${trouble}`);
  return result;
}

/** What ten times the capacity gets of a server whose queue is as long as answers may take. */
async function measureOverload(server) {
  const at70Percent = await load(server, 0.7 * capacity, LANES);
  const peaks = [];
  for (const share of [1, 1.5, 2]) peaks.push(await load(server, share * capacity, LANES));
  const health = watchHealth(server.adminUrl);
  const overload = await load(server, 10 * capacity, LANES);
  const healthzMsMax = await health();
  const p99 = ({ latencyUs }) => round(latencyUs.p99);
  return {
    peakGoodput: round(Math.max(...peaks.map((each) => each.operationsPerSecond))),
    overloadGoodput: round(overload.operationsPerSecond),
    p99Us: { at70Percent: p99(at70Percent), overload: p99(overload) },
    refused: overload.errors,
    refusedWithCode: overload.errorCodes[REFUSAL] ?? 0,
    healthzMsMax: round(healthzMsMax),
  };
}

/** The same load of one stream and of many, by a server with the queue that it has by default. */
async function measureStreams(server) {
  const rate = BELOW_SATURATION * capacity;
  const one = await load(server, rate, { connections: 1, depth: 64, arrivals: 'constant' });
  const many = await load(server, rate, { connections: streams, depth: 1, arrivals: 'constant' });
  const both = (read) => ({ streams1: round(read(one)), [`streams${streams}`]: round(read(many)) });
  return {
    ...both(({ operationsPerSecond }) => operationsPerSecond),
    p50Us: both((result) => percentile(result, 50)),
    p95Us: both((result) => percentile(result, 95)),
  };
}

function show(result) {
  const share = (part, whole) => `${((part / whole) * 100).toFixed(1)} %`;
  const { peakGoodput, overloadGoodput, p99Us, refused, refusedWithCode, streams1, p95Us } = result;
  const name = `streams${streams}`;
  console.log(`goodput at 10 times the capacity: ${share(overloadGoodput, peakGoodput)} of peak`);
  console.log(`p99 there: ${share(p99Us.overload, p99Us.at70Percent)} of that at 70 % load`);
  console.log(`refusals with a code: ${share(refusedWithCode, refused)} of ${refused}`);
  console.log(`longest /healthz: ${result.healthzMsMax} ms`);
  console.log(`${streams} streams: ${share(result[name], streams1)} of the rate of one`);
  console.log(`p95 there: ${share(p95Us[name], p95Us.streams1)} of that of one stream`);
}

const folder = mkdtempSync(join(tmpdir(), 'verbena-overload-'));

/** What `use` finds out about a server of its own. */
async function withServer(options, use) {
  const child = fork(fileURLToPath(new URL('overload/server-process.mjs', import.meta.url)));
  try {
    const { ca, cert, key } = await makeDevCertificate();
    const file = join(folder, 'ca.pem');
    writeFileSync(file, ca);
    const started = await ask(child, { device, cert, key, capacity, ...options });
    return await use({ ...started, ca: file });
  } finally {
    if (child.connected) child.send('close');
    await once(child, 'exit');
  }
}

try {
  const queueSize = Number(values['queue-size']);
  const result = {
    capacity,
    queueSize,
    ...(await withServer({ queueSize }, measureOverload)),
    // It is to take all who come, however long that takes.
    ...(await withServer({ cpuThresholdPercent: 100, handshakeTimeoutMs: 60_000 }, measureStreams)),
  };
  if (values.json) console.log(JSON.stringify(result));
  else show(result);
} finally {
  rmSync(folder, { recursive: true });
}
