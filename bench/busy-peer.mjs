// Measures how long one-sided operations wait for a server whose JavaScript thread is busy.
//
//   node bench/busy-peer.mjs [--seconds 5] [--busy-ms 20] [--json]
//
// The server blocks its event loop for --busy-ms at a time, without a pause, while a client in a
// process of its own reads and writes 64 bytes, one operation after the other. Build first with
// `npm run build`. Figures are for a quiet machine with a core for each process.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { makeDevCertificate } from '../dist/cli/dev-certificate.js';
import { connect, createServer } from '../dist/index.js';

const blockFor = (ms) => {
  const end = performance.now() + ms;
  while (performance.now() < end);
};

/** The server's process: idle until told how long to block at a time. */
async function serve({ cert, key }) {
  const server = await createServer({
    device: 'soft',
    cert,
    key,
    regionBytes: 4096,
    cpuThresholdPercent: 100,
    handler: ({ payload }) => payload,
  });
  process.send({ port: server.address().port });
  process.on('message', ({ busyMs }) => {
    const turn = () => {
      blockFor(busyMs);
      setImmediate(turn);
    };
    turn();
  });
}

function quantiles(samples) {
  const sorted = samples.sort((a, b) => a - b);
  const at = (share) =>
    Number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(1));
  return { operations: sorted.length, p50: at(0.5), p99: at(0.99), p99_9: at(0.999), max: at(1) };
}

/** Microseconds of operations that follow each other for so many seconds. */
async function measure(seconds, operation) {
  const samples = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const started = performance.now();
    await operation();
    samples.push((performance.now() - started) * 1000);
  }
  return quantiles(samples);
}

async function run({ seconds, busyMs, json }) {
  const { ca, cert, key } = await makeDevCertificate();
  const child = fork(fileURLToPath(import.meta.url), ['--server'], { stdio: 'inherit' });
  child.send({ cert, key });
  const [{ port }] = await once(child, 'message');
  const client = await connect({ device: 'soft', host: '127.0.0.1', port, ca });
  const bytes = new Uint8Array(64);
  const both = async () => ({
    readUs: await measure(seconds, () => client.read(0, 64)),
    writeUs: await measure(seconds, () => client.write(0, bytes)),
  });
  const idle = await both();
  child.send({ busyMs });
  const busy = await both();
  await client.close();
  child.kill();
  if (json) console.log(JSON.stringify({ busyMs, idle, busy }));
  else
    console.table({
      'read, idle': idle.readUs,
      'write, idle': idle.writeUs,
      'read, busy': busy.readUs,
      'write, busy': busy.writeUs,
    });
}

if (process.argv[2] === '--server') {
  process.once('message', (certificate) => void serve(certificate));
} else {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '5' },
      'busy-ms': { type: 'string', default: '20' },
      json: { type: 'boolean', default: false },
    },
  });
  await run({
    seconds: Number(values.seconds),
    busyMs: Number(values['busy-ms']),
    json: values.json,
  });
}
