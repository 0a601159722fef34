// What a request costs beside idle connections and with many under way: rate, processor time and
// memory allocated, which are to depend on neither.
//
//   npm run --silent bench:flat -- [--idle 0,250,1000] [--depths 1,4,16,64] [--connections 16]
//                                  [--rounds 3] [--seconds 1] [--device soft] [--json]
//
// Medians of rounds. Processor time and memory are of both ends together. Young objects have 64 MiB,
// which the requests that memory is measured with do not fill.
// Build first with `npm run build`. stdout has the result; the steps go to stderr.
import { parseArgs } from 'node:util';
import { makeDevCertificate } from '../dist/cli/dev-certificate.js';
import { ask, end, start } from './lib/processes.mjs';

const BYTES = 64;
/** Short enough for young objects to have room. */
const ALLOCATING_SECONDS = 0.05;
const NODE_OPTIONS = ['--expose-gc', '--min-semi-space-size=64', '--max-semi-space-size=64'];

const { values } = parseArgs({
  options: {
    idle: { type: 'string', default: '0,250,1000' },
    depths: { type: 'string', default: '1,4,16,64' },
    connections: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '1' },
    device: { type: 'string', default: 'soft' },
    json: { type: 'boolean', default: false },
  },
});
const [idles, depths] = [values.idle, values.depths].map((list) => list.split(',').map(Number));
const [connections, rounds, seconds] = [values.connections, values.rounds, values.seconds].map(
  Number,
);
const { device } = values;

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const rounded = (value) => Number(value.toPrecision(4));
const launch = (script) => start(import.meta.url, script, NODE_OPTIONS);

const { ca, cert, key } = await makeDevCertificate();
const server = launch('scale/server-process.mjs');
const crowd = launch('scale/client-process.mjs');
const workers = launch('scale/client-process.mjs');
const clients = Math.max(...idles) + connections;
const { port } = await ask(server, { kind: 'verbena', device, cert, key, clients });
for (const each of [crowd, workers]) {
  await ask(each, { command: 'start', kind: 'verbena', device, port, ca });
}
await ask(workers, { command: 'connect', count: connections, atOnce: 4 });

/** What both ends took for the requests of so many seconds, each. */
async function cost(depth, forSeconds) {
  const both = async () => [await ask(workers, { command: 'spent' }), await ask(server, 'cpu')];
  const before = await both();
  const work = { command: 'work', count: connections, depth, bytes: BYTES, seconds: forSeconds };
  const { requests } = await ask(workers, work);
  const after = await both();
  const of = (name) =>
    after.reduce((sum, each, index) => sum + each[name] - before[index][name], 0) / requests;
  return {
    perSecond: requests / forSeconds,
    cpuUs: of('cpuSeconds') * 1e6,
    bytes: of('heapBytes'),
  };
}

async function measure(depth) {
  await cost(depth, seconds / 4); // warms up
  const { perSecond, cpuUs } = await cost(depth, seconds);
  await ask(workers, { command: 'usage' }); // collects garbage
  await ask(server, 'usage');
  const { bytes } = await cost(depth, ALLOCATING_SECONDS);
  return { perSecond, cpuUs, allocatedBytes: bytes };
}

const measured = new Map();
for (let round = 1; round <= rounds; round++) {
  for (const idle of idles) {
    console.error(`flat: round ${round} of ${rounds}: ${idle} idle connections`);
    await ask(crowd, { command: 'connect', count: idle, atOnce: 8 });
    for (const depth of depths) {
      const key = `${idle} ${depth}`;
      if (!measured.has(key)) measured.set(key, { idle, depth, all: [] });
      measured.get(key).all.push(await measure(depth));
    }
    await ask(crowd, { command: 'leave', keep: 0 });
  }
}
await end([workers, crowd, server]);

const results = [...measured.values()].map(({ idle, depth, all }) => {
  const of = (name) => rounded(median(all.map((one) => one[name])));
  const [perSecond, cpuUs, allocatedBytes] = ['perSecond', 'cpuUs', 'allocatedBytes'].map(of);
  return { idle, depth, requestsPerSecond: perSecond, cpuUs, allocatedBytes };
});
if (values.json) console.log(JSON.stringify({ connections, results }));
else console.table(results);
