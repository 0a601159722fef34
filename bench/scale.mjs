// Measures what many connected clients cost: set-up rate, memory, registered bytes, and whether those
// that are idle slow down those that work; beside a bare Node TLS server in the same run.
//
//   npm run --silent bench:scale -- [--clients 1000] [--processes 4] [--at-once 50] [--cycles 0]
//                                   [--seconds 3] [--warm-up 3000] [--device soft] [--json]
//
// --cycles    connect, ask and leave so often at the end, and say what memory grew by
// --warm-up   set-ups of each process before anything is measured: until then it compiles its code
// Build first with `npm run build`. stdout has the result; the steps go to stderr.
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { makeDevCertificate } from '../dist/cli/dev-certificate.js';
import { ask, start } from './lib/processes.mjs';

const WORKING = 16;
const DEPTH = 4;
const BYTES = 64;
/** In which everybody connects; the memory of a client is that of the second half. */
const PARTS = 4;
/** Of throughput beside idle clients and alone. */
const PAIRS = 5;

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '1000' },
    processes: { type: 'string', default: '4' },
    'at-once': { type: 'string', default: '50' },
    cycles: { type: 'string', default: '0' },
    seconds: { type: 'string', default: '3' },
    'warm-up': { type: 'string', default: '3000' },
    device: { type: 'string', default: 'soft' },
    json: { type: 'boolean', default: false },
  },
});
const clients = Number(values.clients);
const processes = Number(values.processes);
const atOnce = Number(values['at-once']);
const cycles = Number(values.cycles);
const seconds = Number(values.seconds);
const { device } = values;

const say = (text) => console.error(`scale: ${text}`);
const launch = (script, options) => start(import.meta.url, `scale/${script}`, options);

/** `total` in as many equal parts as there are processes. */
const share = (total, index) => Math.floor(total / processes) + (index < total % processes ? 1 : 0);

/** A server with client processes; everything ends with `close`. */
async function stage(kind, { ca, cert, key }) {
  const server = launch('server-process.mjs', ['--expose-gc']);
  const { port } = await ask(server, { kind, device, cert, key, clients });
  const fleet = Array.from({ length: processes }, () => launch('client-process.mjs'));
  const all = (make) => Promise.all(fleet.map((child, index) => ask(child, make(index))));
  await all(() => ({ command: 'start', kind, device, port, ca }));
  return {
    all,
    counts: () => ask(server, 'counts'),
    connected: () => ask(server, 'connected'),
    cpuSeconds: async () => (await ask(server, 'cpu')).cpuSeconds,
    close: async () => {
      for (const child of fleet) child.disconnect();
      server.send('close');
      await once(server, 'exit');
    },
  };
}

const byValue = (a, b) => a - b;
const percentile = (sorted, part) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];

/** Connects `count` clients; the rate, and the time of each set-up in microseconds. */
async function connectAll({ all }, count) {
  const started = performance.now();
  const answers = await all((index) => ({
    command: 'connect',
    count: share(count, index),
    atOnce: Math.max(1, share(atOnce, index)),
  }));
  const perSecond = count / ((performance.now() - started) / 1000);
  const times = answers.flatMap((answer) => answer.times);
  const failures = answers.flatMap((answer) => answer.failures);
  for (const failure of new Set(failures)) say(`a set-up failed: ${failure}`);
  return { perSecond, times };
}

async function throughput({ all }) {
  const answers = await all((index) => ({
    command: 'work',
    count: share(WORKING, index),
    depth: DEPTH,
    bytes: BYTES,
    seconds,
  }));
  return answers.reduce((sum, { requests }) => sum + requests, 0) / seconds;
}

const warmUp = ({ all }) =>
  all(() => ({ command: 'cycle', count: Number(values['warm-up']), atOnce: 4 }));

/** All but those who work leave; until the server has nothing of them any more. */
async function leave({ all, connected }) {
  await all((index) => ({ command: 'leave', keep: share(WORKING, index) }));
  while ((await connected()) > WORKING) await pause(50);
}

/** The part of the memory that came with the second half of the clients, for each of them. */
function perClient(half, full, key) {
  return (full[key] - half[key]) / (full.connected - half.connected);
}

/**
 * Connects everybody to each of the stages, a part to one and a part to the next in turns: a host that
 * is slow for a while is slow for all. Their memory is looked at after half of the parts and at the
 * end; `touch` gives every client the memory it will use.
 */
async function fillInTurns(stages) {
  const filled = stages.map(() => ({ seconds: 0, times: [], counts: [] }));
  for (let part = 0; part < PARTS; part++) {
    const count = Math.floor((clients * (part + 1)) / PARTS) - Math.floor((clients * part) / PARTS);
    for (const [index, { stage, touch }] of stages.entries()) {
      const { perSecond, times } = await connectAll(stage, count);
      filled[index].seconds += count / perSecond;
      filled[index].times.push(...times);
      if ((part + 1) % (PARTS / 2) !== 0) continue;
      await touch();
      filled[index].counts.push(await stage.counts());
    }
  }
  return filled.map(({ seconds, times, counts: [half, full] }) => {
    times.sort(byValue);
    return {
      full,
      perSecond: clients / seconds,
      p50: percentile(times, 0.5),
      p99: percentile(times, 0.99),
      rssPerClient: perClient(half, full, 'rssBytes'),
      registeredPerClient: perClient(half, full, 'registeredBytes'),
      heapPerClient: perClient(half, full, 'heapBytes'),
    };
  });
}

/** What set-ups cost, of bare TLS and of Verbena; the Verbena stage stays as it is then. */
async function measureSetups(certificate) {
  const tls = await stage('tls', certificate);
  const verbena = await stage('verbena', certificate);
  await warmUp(tls);
  await warmUp(verbena);
  const filled = await fillInTurns([
    { stage: tls, touch: async () => undefined },
    { stage: verbena, touch: () => verbena.all(() => ({ command: 'touch' })) },
  ]);
  await tls.close();
  const heaps = filled.map(({ heapPerClient }) => Math.round(heapPerClient));
  say(`heap for each client: ${heaps[0]} bytes of bare TLS, ${heaps[1]} of Verbena`);
  return { verbena, filled };
}

/** What those who work do beside idle ones, of what they do alone: the median of pairs in turns. */
async function measureIdle(verbena) {
  const idle = await idleShare(verbena);
  const ratios = [];
  for (let pair = 0; pair < PAIRS; pair++) {
    if (pair > 0) await connectAll(verbena, clients - WORKING);
    const crowded = await throughput(verbena);
    await leave(verbena);
    ratios.push(crowded / (await throughput(verbena)));
  }
  return { idle, ratio: percentile(ratios.sort(byValue), 0.5) };
}

/** Share of a core that the server takes while all its clients are idle. */
async function idleShare(verbena) {
  const before = await verbena.cpuSeconds();
  await new Promise((resolve) => setTimeout(resolve, 3000));
  return ((await verbena.cpuSeconds()) - before) / 3;
}

/**
 * What memory grew by in each quarter of many connect/close cycles, after a first round of them: a
 * leak grows in all of them alike.
 */
async function measureCycles(verbena) {
  const run = (count) =>
    verbena.all((index) => ({ command: 'cycle', count: share(count, index), atOnce: 4 }));
  await run(Math.ceil(cycles / 10));
  const counts = [await verbena.counts()];
  const started = performance.now();
  for (let quarter = 1; quarter <= 4; quarter++) {
    await run(Math.ceil(cycles / 4));
    counts.push(await verbena.counts());
  }
  const elapsed = (performance.now() - started) / 1000;
  const growth = (key) => counts.slice(1).map((each, index) => each[key] - counts[index][key]);
  return {
    cycles,
    perSecond: Math.round(cycles / elapsed),
    rssGrowthBytes: growth('rssBytes'),
    heapGrowthBytes: growth('heapBytes'),
    registeredGrowthBytes: growth('registeredBytes'),
  };
}

const certificate = await makeDevCertificate();
say(
  `bare TLS and Verbena in turns, ${clients} clients in ${processes} processes, ${atOnce} at once`,
);
const { verbena: stayed, filled } = await measureSetups(certificate);
const [tls, verbena] = filled;
say(`${verbena.full.connected} connected, ${verbena.full.uniquePsns} PSNs`);
const { idle, ratio } = await measureIdle(stayed);
const cycled = cycles > 0 ? await measureCycles(stayed) : undefined;
await stayed.close();
const { registeredPerClient } = verbena;
const result = {
  connected: verbena.full.connected,
  refused: verbena.full.refused,
  uniquePsns: verbena.full.uniquePsns / 2,
  setupPerSecond: Math.round(verbena.perSecond),
  setupUs: { p50: Math.round(verbena.p50), p99: Math.round(verbena.p99) },
  tlsSetupPerSecond: Math.round(tls.perSecond),
  tlsSetupUs: { p50: Math.round(tls.p50), p99: Math.round(tls.p99) },
  setupRatio: Number((verbena.perSecond / tls.perSecond).toFixed(3)),
  rssPerClientBytesBeyondTls: Math.round(
    verbena.rssPerClient - registeredPerClient - tls.rssPerClient,
  ),
  registeredPerClientBytes: Math.round(registeredPerClient),
  throughputRatioIdleClients: Number(ratio.toFixed(3)),
  idleServerCoreShare: Number(idle.toFixed(4)),
  ...(cycled === undefined ? {} : { cycled }),
};
if (values.json) console.log(JSON.stringify(result));
else console.log(result);
