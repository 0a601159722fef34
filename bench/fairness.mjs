// Measures what clients keep of their fair share beside one that takes what it can get.
//
//   npm run --silent bench:fairness -- [--clients 4] [--rounds 5] [--seconds 1]
//     [--only "flood,reads"] [--device soft] [--json]
//
// Each client is a process that keeps 16 small requests under way. Beside an offender a fair share is
// what N clients alone get, times N / (N + 1); the ratio says what they got of that: the median of the
// rounds, each with and without the offender. `equal` is no offender but one more client like the others;
// `elsewhere` the offender has a server of its own, which shows what the shared processors alone cost.
// Build first with `npm run build`; the steps go to stderr.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { makeDevCertificate } from '../dist/cli/dev-certificate.js';

const WAYS = [
  ...['equal', 'busy', 'flood', 'no credits', 'handlers'],
  ...['reads', 'reads elsewhere', 'rendezvous', 'rendezvous elsewhere'],
];
const DEPTH = 16;
const BYTES = 64;
const REGION_BYTES = 64 * 1024 * 1024;

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '1' },
    only: { type: 'string', default: WAYS.join(',') },
    device: { type: 'string', default: 'soft' },
    pin: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const { device } = values;
const clients = Number(values.clients);
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);

/** Processors of each kind of process. */
const [ofClients, ofServer] = [0, 1].map((core) => (values.pin ? String(core) : undefined));

/** Starts a script, on these processors alone. */
function start(name, processors) {
  const script = fileURLToPath(new URL(name, import.meta.url));
  if (processors === undefined) return fork(script);
  const execArgv = ['-c', processors, process.execPath];
  return fork(script, { execPath: 'taskset', execArgv });
}

async function ask(child, message) {
  child.send(message);
  const [answer] = await once(child, 'message');
  return answer;
}

/** Requests per second of all clients together. */
async function throughput(fleet) {
  const work = { command: 'work', count: 1, depth: DEPTH, bytes: BYTES, seconds };
  const answers = await Promise.all(fleet.map((client) => ask(client, work)));
  return answers.reduce((sum, { requests }) => sum + requests, 0) / seconds;
}

/** Codes of the sessions that ended meanwhile, with their numbers. */
function newEnds(before, after) {
  const counts = Object.entries(after).map(([code, count]) => [code, count - (before[code] ?? 0)]);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

const { ca, cert, key } = await makeDevCertificate();
const startServer = async (processors) => {
  const server = start('fairness/server-process.mjs', processors);
  const { port } = await ask(server, { device, cert, key, regionBytes: REGION_BYTES });
  return { server, port };
};
const { server, port } = await startServer(ofServer);
const elsewhere = await startServer(ofClients);
const fleet = Array.from({ length: clients }, () => start('scale/client-process.mjs', ofClients));
for (const client of fleet) {
  await ask(client, { command: 'start', kind: 'verbena', device, port, ca });
  await ask(client, { command: 'connect', count: 1, atOnce: 1 });
}
await throughput(fleet); // warms the compilers up

const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];

async function measure(name) {
  const way = name.replace(' elsewhere', '');
  const target = way === name ? port : elsewhere.port;
  const offender = start('fairness/offender-process.mjs', ofClients);
  const before = await ask(server, 'ended');
  const alone = [await throughput(fleet)];
  const beside = [];
  for (let round = 0; round < rounds; round++) {
    offender.send({ way, device, port: target, ca });
    await delay(500);
    beside.push(await throughput(fleet));
    await ask(offender, {});
    alone.push(await throughput(fleet));
  }
  offender.disconnect();
  await once(offender, 'exit');
  const fair = beside.map((_, round) => (alone[round] + alone[round + 1]) / 2 / (1 + 1 / clients));
  const ratio = median(beside.map((rate, round) => Number((rate / fair[round]).toFixed(3))));
  const ended = newEnds(before, await ask(server, 'ended'));
  const result = {
    alonePerSecond: Math.round(median(alone)),
    besidePerSecond: Math.round(median(beside)),
    ratio,
    ended,
  };
  console.error(`fairness: ${name}: ${JSON.stringify(result)}`);
  return [name, result];
}

const results = [];
for (const name of values.only.split(',')) results.push(await measure(name));
for (const client of fleet) client.disconnect();
for (const each of [server, elsewhere.server]) {
  each.send('close');
  await once(each, 'exit');
}
const result = { clients, offenders: Object.fromEntries(results) };
if (values.json) console.log(JSON.stringify(result));
else console.table(result.offenders);
