// The same work over Verbena on the soft device and over what a Node service uses today, server and
// client in a process each, runs interleaved, medians.
//
//   npm run --silent bench:peers -- [--json] [--quick] [--runs 5] [--seconds 2]
//                                   [--peers net,tls] [--cases echo-64-16x16] [--guard]
//                                   [--plots FOLDER]
//
// Build first with `npm run build`. The peers' packages are installed under bench/peers when they are
// missing. With --guard it fails when a ratio to net is below half of what peers/recorded.json has,
// the least that idle and busy machines of two cores gave. With --plots it draws requests.svg and
// latency.svg. stdout has the result, the steps go to stderr.
import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { makeDevCertificate } from '../dist/cli/dev-certificate.js';
import { drawPlots } from './lib/plots.mjs';

const KIBIBYTE = 1024;
const MEBIBYTE = KIBIBYTE * KIBIBYTE;

const echo = (bytes, connections, depth) => ({ operation: 'request', bytes, connections, depth });
/** One-sided operations are compared with the peers' requests of the case `against`. */
const oneSided = (operation) => ({ ...echo(64, 16, 16), operation, against: 'echo-64-16x16' });

const allCases = {
  'echo-64-1x1': echo(64, 1, 1),
  'echo-64-16x1': echo(64, 16, 1),
  'echo-64-16x16': echo(64, 16, 16),
  'echo-64-64x16': echo(64, 64, 16),
  'echo-64-1000x1': echo(64, 1000, 1),
  'echo-64Ki-4x4': echo(64 * KIBIBYTE, 4, 4),
  'oneway-1Mi-1x4': echo(MEBIBYTE, 1, 4),
  'read-64-16x16': oneSided('read'),
  'write-64-16x16': oneSided('write'),
  // Connections that are made, asked once and closed, so many at a time; they are its requests.
  'setup-64-16': { ...echo(64, 1, 16), operation: 'setup' },
};
const allPeers = ['verbena', 'net', 'tls', 'ws', 'grpc', 'zeromq'];
const quickCases = ['echo-64-1x1', 'echo-64-16x16', 'oneway-1Mi-1x4', 'read-64-16x16'];

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    runs: { type: 'string' },
    seconds: { type: 'string' },
    peers: { type: 'string' },
    cases: { type: 'string' },
    guard: { type: 'boolean', default: false },
    plots: { type: 'string' },
  },
});
const runs = Number(values.runs ?? (values.quick ? 3 : 5));
const seconds = Number(values.seconds ?? (values.quick ? 1 : 2));
const chosenPeers = choose('peer', values.peers, values.quick ? ['net'] : allPeers, allPeers);
const peers = ['verbena', ...chosenPeers.filter((peer) => peer !== 'verbena')];
const caseNames = choose(
  'case',
  values.cases,
  values.quick ? quickCases : Object.keys(allCases),
  Object.keys(allCases),
);

function choose(what, list, usual, known) {
  const chosen = list?.split(',') ?? usual;
  const wrong = chosen.find((name) => !known.includes(name));
  if (wrong === undefined) return chosen;
  console.error(`there is no ${what} '${wrong}'; there are ${known.join(', ')}`);
  process.exit(2);
}

const say = (text) => console.error(`peers: ${text}`);
const place = (name) => fileURLToPath(new URL(`peers/${name}`, import.meta.url));

function installPeers() {
  if (peers.every((peer) => ['verbena', 'net', 'tls'].includes(peer))) return;
  if (existsSync(place('node_modules'))) return;
  say('installing the peers');
  const install = ['ci', '--no-audit', '--no-fund', '--silent'];
  execFileSync('npm', install, { cwd: place('.'), stdio: ['ignore', 2, 2] });
}

async function ask(child, message) {
  child.send(message);
  const [answer] = await once(child, 'message');
  return answer;
}

/** A process that ends before it is told to takes the benchmark with it. */
function start(peer, script) {
  const child = fork(place(script));
  child.once('exit', (status) => {
    if (!child.connected && status === 0) return;
    say(`${script} of ${peer} ended with ${status}`);
    process.exit(1);
  });
  return child;
}

async function startPeer(peer, certificate) {
  const server = start(peer, 'server-process.mjs');
  const { port } = await ask(server, { peer, certificate });
  const client = start(peer, 'client-process.mjs');
  await ask(client, { command: 'start', peer, port, certificate });
  return { server, client };
}

/** One measurement of one case; the connections are made for it. */
async function runCase({ server, client }, work) {
  await ask(client, { command: 'open', ...work });
  await ask(client, { command: 'measure', seconds: seconds / 4 }); // warms up
  const before = await ask(server, 'cpu');
  const measured = await ask(client, { command: 'measure', seconds });
  const after = await ask(server, 'cpu');
  await ask(client, { command: 'close' });
  const cpuSeconds = measured.cpuSeconds + after.cpuSeconds - before.cpuSeconds;
  return {
    requestsPerSecond: measured.requestsPerSecond,
    bytesPerSecond: measured.requestsPerSecond * work.bytes,
    p50Us: measured.p50Us,
    p99Us: measured.p99Us,
    cpuSecondsPerMillion: (cpuSeconds / measured.requests) * 1e6,
  };
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const rounded = (value) => Number(value.toPrecision(5));

function medianOf(measurements) {
  const keys = Object.keys(measurements[0]);
  return Object.fromEntries(
    keys.map((key) => [key, rounded(median(measurements.map((one) => one[key])))]),
  );
}

/** Jiffies of all cores, and of those that another machine had. */
function processorTimes() {
  const [, ...fields] = readFileSync('/proc/stat', 'utf8').split('\n')[0].split(/\s+/);
  const times = fields.slice(0, 8).map(Number);
  return { all: times.reduce((sum, time) => sum + time, 0), stolen: times[7] };
}

const takesPart = (peer, { against }) => against === undefined || peer === 'verbena';

async function measureAll(running) {
  const measured = new Map();
  for (let run = 1; run <= runs; run++) {
    for (const name of caseNames) {
      say(`run ${run} of ${runs}: ${name}`);
      for (const [peer, processes] of running) {
        if (!takesPart(peer, allCases[name])) continue;
        const key = `${name} ${peer}`;
        if (!measured.has(key)) measured.set(key, { name, peer, all: [] });
        measured.get(key).all.push(await runCase(processes, allCases[name]));
      }
    }
  }
  return [...measured.values()].map(({ name, peer, all }) => ({
    case: name,
    peer,
    ...medianOf(all),
  }));
}

/** Verbena's figures as multiples of each peer's. */
function ratiosOf(results) {
  const find = (name, peer) => results.find((one) => one.case === name && one.peer === peer);
  const ratios = {};
  for (const name of caseNames) {
    const own = find(name, 'verbena');
    ratios[name] = {};
    for (const peer of peers) {
      const other = find(allCases[name].against ?? name, peer);
      if (peer === 'verbena' || other === undefined) continue;
      const ratio = (key) => rounded(own[key] / other[key]);
      ratios[name][peer] = {
        requestsPerSecond: ratio('requestsPerSecond'),
        bytesPerSecond: ratio('bytesPerSecond'),
        p50Us: ratio('p50Us'),
        p99Us: ratio('p99Us'),
        cpuSecondsPerMillion: ratio('cpuSecondsPerMillion'),
      };
    }
  }
  return ratios;
}

function print({ results, ratios, machine }) {
  const row = (cells) =>
    cells.map((cell, i) => (i < 2 ? String(cell).padEnd(16) : String(cell).padStart(12))).join('');
  const whole = (value) => Math.round(value).toLocaleString('en');
  console.log(row(['case', 'peer', 'requests/s', 'MB/s', 'p50 µs', 'p99 µs', 'CPU s/M', 'ratio']));
  for (const { case: name, peer, ...one } of results) {
    const ratio = ratios[name][peer]?.requestsPerSecond;
    const rates = [whole(one.requestsPerSecond), whole(one.bytesPerSecond / 1e6)];
    const times = [one.p50Us, one.p99Us, one.cpuSecondsPerMillion].map((value) => value.toFixed(1));
    console.log(row([name, peer, ...rates, ...times, ratio?.toFixed(2) ?? '']));
  }
  console.log(`medians of ${runs} runs; ratio: Verbena's requests/s to the peer's`);
  console.log(
    `not pinned; ${(machine.stealShare * 100).toFixed(1)} % of the processors was stolen`,
  );
}

function isAsFastAsRecorded({ ratios }) {
  const recorded = JSON.parse(readFileSync(place('recorded.json'), 'utf8'));
  const slow = Object.keys(ratios).filter(
    (name) => ratios[name].net.requestsPerSecond < recorded[name] / 2,
  );
  for (const name of slow) {
    const { requestsPerSecond } = ratios[name].net;
    say(`FAIL  ${name}: ${requestsPerSecond} times as fast as net; recorded is ${recorded[name]}`);
  }
  return slow.length === 0;
}

installPeers();
const certificate = await makeDevCertificate();
const running = [];
for (const peer of peers) running.push([peer, await startPeer(peer, certificate)]);
const before = processorTimes();
const results = await measureAll(running);
const after = processorTimes();
for (const [, { client, server }] of running) {
  client.disconnect();
  server.disconnect();
}
const stealShare = rounded((after.stolen - before.stolen) / (after.all - before.all));
const machine = { pinned: false, stealShare };
const report = { results, ratios: ratiosOf(results), machine };
if (values.json) console.log(JSON.stringify(report));
else print(report);
if (values.plots !== undefined) drawPlots(report, values.plots);
if (values.guard && !isAsFastAsRecorded(report)) process.exitCode = 1;
