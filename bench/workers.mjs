// Measures when worker threads pay: requests a second and latency with a handler that does next to
// nothing, with one that computes for a millisecond, and beside a client whose requests take long.
//
//   npm run --silent bench:workers -- [--workers 0,1,2] [--seconds 5] [--rounds 3] [--clients 8]
//                                     [--device soft] [--json]
//
// Each figure is the median of the rounds, in which all counts of workers take turns.
// Build first with `npm run build`. stdout has the result; the steps go to stderr.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { bytesOf } from './workers/handler.mjs';

const { values } = parseArgs({
  options: {
    workers: { type: 'string', default: '0,1,2' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    clients: { type: 'string', default: '8' },
    device: { type: 'string', default: 'soft' },
    json: { type: 'boolean', default: false },
  },
});
const counts = values.workers.split(',').map(Number);
const { seconds, clients, device } = values;
const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const handler = fileURLToPath(new URL('workers/handler.mjs', import.meta.url));
const run = promisify(execFile);
const say = (text) => console.error(`workers: ${text}`);

/** A server with so many workers; ended with `stop`. */
async function serve(workers, folder) {
  const where = ['--device', device, '--port', '0', '--dev-cert', folder, '--log-level', 'error'];
  // What is measured is the limit, so nothing is refused before it.
  const limits = ['--cpu-threshold-percent', '100', '--queue-threshold-percent', '100'];
  const threads = ['--workers', String(workers), '--handler', handler];
  const child = spawn(process.execPath, [cli, 'serve', ...where, ...limits, ...threads], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  for await (const text of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    output += text;
    if (/listening on/.test(output)) break;
  }
  const [, address] = /listening on (\S+)/.exec(output);
  const ended = once(child, 'exit');
  return { address, pid: child.pid, stop: () => (child.kill('SIGTERM'), ended) };
}

/** User and system time of a process so far, which other load of the machine does not change. */
function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /s, '').split(' ');
  const TICKS_PER_SECOND = 100;
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** What clients do with requests of one kind; `options` are those of `verbena bench`. */
async function load({ address, pid }, folder, kind, options) {
  const args = [
    ...['bench', address, '--ca', join(folder, 'ca.pem'), '--device', device, '--json'],
    ...['--bytes', String(bytesOf[kind]), '--warm-up', '1', '--duration', seconds, ...options],
  ];
  const before = cpuSeconds(pid);
  const { stdout } = await run(process.execPath, [cli, ...args], { maxBuffer: 2 ** 26 });
  const { operations, warmUp, operationsPerSecond, latencyUs } = JSON.parse(stdout);
  const cpuUs = ((cpuSeconds(pid) - before) * 1e6) / (operations + warmUp.operations);
  return {
    perSecond: Math.round(operationsPerSecond),
    cpuUs: Number(cpuUs.toPrecision(3)),
    p50Us: Math.round(latencyUs.p50),
    p99Us: Math.round(latencyUs.p99),
  };
}

const closedLoop = ['--connections', clients, '--depth', '4'];

const scenarios = {
  trivial: (server, folder) => load(server, folder, 'trivial', closedLoop),
  computing: (server, folder) => load(server, folder, 'computing', closedLoop),
  // Planned times, so that requests which wait for a long one count as they should.
  besideLongOnes: async (server, folder) => {
    const longer = ['--duration', String(Number(seconds) + 3)];
    const heavy = load(server, folder, 'long', longer);
    const planned = ['--warm-up', '2', '--rate', '200', '--depth', '64'];
    const light = await load(server, folder, 'trivial', planned);
    await heavy;
    return light;
  },
};

async function measure(workers, folder) {
  const server = await serve(workers, folder);
  const results = {};
  for (const [name, play] of Object.entries(scenarios)) {
    results[name] = await play(server, folder);
    say(`${workers} workers, ${name}: ${JSON.stringify(results[name])}`);
  }
  await server.stop();
  return results;
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

function medians(rounds) {
  const [first] = rounds;
  return Object.fromEntries(
    Object.keys(first).map((name) => [
      name,
      Object.fromEntries(
        Object.keys(first[name]).map((key) => [key, median(rounds.map((each) => each[name][key]))]),
      ),
    ]),
  );
}

function table(results) {
  const rows = Object.keys(scenarios).flatMap((name) =>
    results.map(({ workers, [name]: { perSecond, cpuUs, p50Us, p99Us } }) =>
      [name, workers, perSecond, cpuUs, p50Us, p99Us].map(String),
    ),
  );
  const heads = ['handler', 'workers', 'requests/s', 'CPU µs each', 'p50 µs', 'p99 µs'];
  const lines = [heads, ...rows].map((row) =>
    row
      .map((cell) => cell.padEnd(15))
      .join('')
      .trim(),
  );
  return `${lines.join('\n')}\n`;
}

const folder = mkdtempSync(join(tmpdir(), 'verbena-workers-'));
try {
  const rounds = new Map(counts.map((workers) => [workers, []]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const workers of counts) rounds.get(workers).push(await measure(workers, folder));
  }
  const results = counts.map((workers) => ({ workers, ...medians(rounds.get(workers)) }));
  const document = { processors: availableParallelism(), device, results };
  process.stdout.write(values.json ? `${JSON.stringify(document)}\n` : table(results));
} finally {
  rmSync(folder, { recursive: true });
}
