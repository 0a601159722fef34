// Where the processor time of a request goes, phase by phase, at both ends: from profiles.
//
//   npm run --silent bench:profile -- [--connections 16] [--depth 16] [--bytes 64] [--seconds 3]
//                                     [--operation request|read|write] [--json] [--keep FOLDER]
//
// Takes stacks of both processes with perf, and puts each where the innermost function that is
// known belongs (profile/phases.mjs). Processor time, measured without perf, is divided as they are.
// --keep leaves the stacks of each end in a file.
// Build first with `npm run build`. stdout has the result.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { makeDevCertificate } from '../dist/cli/dev-certificate.js';
import { ask, end, start } from './lib/processes.mjs';
import { phaseNames, phaseOf, stacksIn } from './profile/phases.mjs';

/** Stacks a second; no divisor of anything. */
const FREQUENCY = 2999;

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '16' },
    depth: { type: 'string', default: '16' },
    bytes: { type: 'string', default: '64' },
    operation: { type: 'string', default: 'request' },
    seconds: { type: 'string', default: '3' },
    keep: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const { operation } = values;
const [connections, depth, bytes, seconds] = [
  values.connections,
  values.depth,
  values.bytes,
  values.seconds,
].map(Number);

const perf = async (args) =>
  (await promisify(execFile)('perf', args, { maxBuffer: 2 ** 30 })).stdout;

/** Takes stacks of a process for so long; resolves with them as text. */
async function profile({ pid }, file) {
  const events = ['-e', 'cpu-clock', '-F', String(FREQUENCY), '-g'];
  await perf(['record', '-q', ...events, '-p', String(pid), '-o', file, 'sleep', String(seconds)]);
  return perf(['script', '-i', file, '-F', 'comm,ip,sym']);
}

const folder = mkdtempSync(join(tmpdir(), 'verbena-profile-'));
const certificate = await makeDevCertificate();
/** V8 tells perf the names of functions, and writes a log besides. */
const NODE_OPTIONS = ['--perf-basic-prof', `--logfile=${join(folder, 'v8-%p.log')}`];
const launch = (script) => start(import.meta.url, `peers/${script}`, NODE_OPTIONS);
const server = launch('server-process.mjs');
const client = launch('client-process.mjs');
const peer = 'verbena';

async function cpuSeconds() {
  return (await ask(server, 'cpu')).cpuSeconds;
}

async function measure(forSeconds) {
  const before = await cpuSeconds();
  const measured = await ask(client, { command: 'measure', seconds: forSeconds });
  const { requests } = measured;
  const atServer = (await cpuSeconds()) - before;
  const perRequest = { client: measured.cpuSeconds, server: atServer };
  for (const name of Object.keys(perRequest)) perRequest[name] *= 1e6 / requests;
  return { ...measured, cpuUs: perRequest };
}

/** Microseconds of each phase, of those that one request took. */
function divide(text, cpuUs) {
  const stacks = stacksIn(text);
  if (stacks.length === 0) throw new Error('perf took no stacks: give it more --seconds');
  const phases = Object.fromEntries(phaseNames.map((name) => [name, 0]));
  for (const stack of stacks) phases[phaseOf(stack)] += cpuUs / stacks.length;
  return phases;
}

function show({ requestsPerSecond, p50Us, cpuUs, phases }) {
  const rows = phaseNames.map((name) => [
    name,
    ...['client', 'server'].map((end) => Number(phases[end][name].toFixed(3))),
  ]);
  console.log(`${Math.round(requestsPerSecond)} requests a second, p50 ${p50Us.toFixed(1)} µs`);
  console.log('µs of processor time for a request:');
  console.table(rows.map(([phase, atClient, atServer]) => ({ phase, atClient, atServer })));
  console.log(`together ${cpuUs.client.toFixed(2)} and ${cpuUs.server.toFixed(2)}`);
}

try {
  const { port } = await ask(server, { peer, certificate });
  await ask(client, { command: 'start', peer, port, certificate });
  await ask(client, { command: 'open', operation, bytes, connections, depth });
  await measure(seconds);
  const { requestsPerSecond, p50Us, p99Us, cpuUs } = await measure(seconds);
  const profiled = measure(seconds + 1);
  const texts = await Promise.all(
    [client, server].map((child, index) => profile(child, join(folder, String(index)))),
  );
  await profiled;
  const phases = { client: divide(texts[0], cpuUs.client), server: divide(texts[1], cpuUs.server) };
  const result = {
    operation,
    bytes,
    connections,
    depth,
    requestsPerSecond,
    p50Us,
    p99Us,
    cpuUs,
    phases,
  };
  if (values.keep !== undefined) {
    mkdirSync(values.keep, { recursive: true });
    ['client', 'server'].forEach((name, index) =>
      writeFileSync(join(values.keep, `${name}.txt`), texts[index]),
    );
  }
  if (values.json) console.log(JSON.stringify(result));
  else show(result);
} finally {
  await end([client, server]);
  for (const { pid } of [client, server]) rmSync(`/tmp/perf-${pid}.map`, { force: true });
  rmSync(folder, { recursive: true });
}
