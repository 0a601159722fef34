// Measures the native data path alone: round trips and messages per second through the poll group.
//
//   node bench/native-poll.mjs [--rounds 20000] [--spin-us 50] [--json]
//
// Build first with `npm run build:native`. Figures are for comparing ways on one quiet machine.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { connect, makeEnd, open, postReceive, postSend } from '../test/helpers/rings.mjs';

const WC_RECEIVE = 128;
const COMPLETION_WORDS = 8;
const WINDOW = 16;

const release = fileURLToPath(new URL('../build/Release', import.meta.url));
const paths = {
  addonPath: join(release, 'verbena.node'),
  libraryPath: join(release, 'libverbena-soft.so'),
};

/** A group that tells `onReceive(qpIndex)` of each message. */
function receivingGroup(device, spinUs, onReceive) {
  const group = device.createPollGroup({
    spinUs,
    onCompletions(count) {
      const records = group.completions;
      for (let base = 0; base < count * COMPLETION_WORDS; base += COMPLETION_WORDS) {
        if (records[base + 2] !== 0) throw new Error(`completion with status ${records[base + 2]}`);
        if (records[base + 3] === WC_RECEIVE) onReceive(records[base]);
      }
    },
  });
  return group;
}

function answer(group, { qp, mr }) {
  postReceive(group, qp, mr);
  postSend(group, qp, mr);
}

/** Sends `rounds` messages with `inFlight` under way; microseconds between the echoes that arrive. */
function measureRounds(group, listeners, own, rounds, inFlight) {
  return new Promise((resolve) => {
    const samples = new Float64Array(rounds);
    let sent = 0;
    let done = 0;
    let last = process.hrtime.bigint();
    const started = last;
    const send = () => {
      if (sent++ < rounds) postSend(group, own.qp, own.mr);
    };
    listeners.set(own.qp.index, () => {
      const now = process.hrtime.bigint();
      samples[done] = Number(now - last) / 1000;
      last = now;
      postReceive(group, own.qp, own.mr);
      if (++done === rounds) resolve({ samples, seconds: Number(now - started) / 1e9 });
      else send();
    });
    for (let message = 0; message < inFlight; message++) send();
  });
}

function percentile(samples, fraction) {
  const sorted = Float64Array.from(samples).sort();
  return Number(sorted[Math.floor((sorted.length - 1) * fraction)].toFixed(1));
}

function summary(name, { samples, seconds }, before, after) {
  const delta = (key) => after[key] - before[key];
  return {
    name,
    p50Us: percentile(samples, 0.5),
    p99Us: percentile(samples, 0.99),
    messagesPerSecond: Math.round((2 * samples.length) / seconds),
    perBatch: Number((delta('completions') / delta('batches')).toFixed(1)),
    wakeups: delta('wakeups'),
    spins: delta('spins'),
    spinHits: delta('spinHits'),
  };
}

async function main() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '20000' },
      'spin-us': { type: 'string', default: '50' },
      json: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  const spinUs = Number(values['spin-us']);
  const opened = open(paths);
  const listeners = new Map();
  const group = receivingGroup(opened.device, spinUs, (index) => listeners.get(index)());
  const keepAlive = setInterval(() => undefined, 1000);
  const results = [];
  const run = async (name, own, inFlight) => {
    await measureRounds(group, listeners, own, Math.min(rounds, 1000), inFlight);
    const before = group.stats();
    const measured = await measureRounds(group, listeners, own, rounds, inFlight);
    results.push(summary(name, measured, before, group.stats()));
  };

  const a = makeEnd(opened, group);
  const b = makeEnd(opened, group);
  for (const { qp, mr } of [a, b]) {
    for (let index = 0; index < 2 * WINDOW; index++) postReceive(group, qp, mr);
  }
  group.flush();
  connect(a.qp, opened.gid, b.qp.qpn);
  connect(b.qp, opened.gid, a.qp.qpn);
  listeners.set(b.qp.index, () => answer(group, b));
  await run('one thread, ping-pong', a, 1);
  await run(`one thread, ${WINDOW} in flight`, a, WINDOW);

  const c = makeEnd(opened, group);
  for (let index = 0; index < 2 * WINDOW; index++) postReceive(group, c.qp, c.mr);
  group.flush();
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { ...paths, spinUs, peerQpn: c.qp.qpn },
  });
  const qpn = await new Promise((resolve) => worker.once('message', resolve));
  connect(c.qp, opened.gid, qpn);
  await run('two threads, ping-pong', c, 1);
  await run(`two threads, ${WINDOW} in flight`, c, WINDOW);
  await worker.terminate();

  clearInterval(keepAlive);
  opened.addon.closeAll();
  if (values.json) console.log(JSON.stringify({ rounds, spinUs, results }));
  else console.table(results);
}

function echo() {
  const opened = open(workerData);
  const group = receivingGroup(opened.device, workerData.spinUs, () => answer(group, end));
  const end = makeEnd(opened, group);
  for (let index = 0; index < 2 * WINDOW; index++) postReceive(group, end.qp, end.mr);
  group.flush();
  connect(end.qp, opened.gid, workerData.peerQpn);
  // Keeps the thread until it is terminated.
  parentPort.on('message', () => undefined);
  parentPort.postMessage(end.qp.qpn);
}

if (isMainThread) await main();
else echo();
