// One peer's client: opens the connections of a case, keeps so many requests under way on each, and
// times them. Told by messages.
import { peers } from './peers.mjs';

/** Latencies kept of one measurement; those after it count as requests only. */
const MOST_SAMPLES = 4_000_000;
const samples = new Float64Array(MOST_SAMPLES);

let settings;
let clients = [];
let operations = [];

/** A connection of its own, from its beginning to its end. */
async function comeAndGo(payload) {
  const { peer, port, certificate } = settings;
  const client = await peers[peer].connect(port, certificate);
  await client.request(payload);
  await client.close();
}

function operationOf(client, { operation, bytes }) {
  const payload = client.payload?.(bytes) ?? new Uint8Array(bytes);
  if (operation === 'read') return () => client.read(bytes);
  if (operation === 'write') return () => client.write(payload);
  if (operation === 'setup') return () => comeAndGo(payload);
  return () => client.request(payload);
}

async function open({ connections, depth, ...work }) {
  const { peer, port, certificate } = settings;
  clients = [];
  while (clients.length < connections) {
    const batch = Math.min(50, connections - clients.length);
    const some = Array.from({ length: batch }, () => peers[peer].connect(port, certificate));
    clients.push(...(await Promise.all(some)));
  }
  operations = clients.flatMap((client) =>
    Array.from({ length: depth }, () => operationOf(client, work)),
  );
  return {};
}

async function measure({ seconds }) {
  let count = 0;
  const cpu = process.cpuUsage();
  const started = performance.now();
  const end = started + seconds * 1000;
  const stream = async (operation) => {
    for (let before = started; before < end;) {
      await operation();
      const now = performance.now();
      if (count < MOST_SAMPLES) samples[count] = now - before;
      count++;
      before = now;
    }
  };
  await Promise.all(operations.map(stream));
  const elapsed = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const sorted = samples.subarray(0, Math.min(count, MOST_SAMPLES)).sort();
  const percentileUs = (part) => sorted[Math.floor((sorted.length - 1) * part)] * 1000;
  return {
    requests: count,
    requestsPerSecond: count / elapsed,
    p50Us: percentileUs(0.5),
    p99Us: percentileUs(0.99),
    cpuSeconds: (user + system) / 1e6,
  };
}

async function close() {
  await Promise.all(clients.map((client) => client.close()));
  return {};
}

const commands = {
  start: (given) => {
    settings = given;
    return {};
  },
  open,
  measure,
  close,
};

process.on('message', async ({ command, ...options }) => {
  process.send(await commands[command](options));
});
process.on('disconnect', () => process.exit(0));
