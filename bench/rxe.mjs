// perftest on the soft device and on the kernel's soft-RoCE, in the same machine, interleaved; medians,
// and how many times as fast the soft device is.
//
//   npm run --silent bench:rxe -- [--json] [--runs 3]
//
// The machine is the one of scripts/with-rxe.sh. Build first with `npm run build`. stdout has the
// result, the steps go to stderr.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { main, root } from '../scripts/lib/run.mjs';
import { perftest, softTool } from './native/perftest.mjs';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    runs: { type: 'string', default: '3' },
    // For the run inside of the machine: where the result goes.
    into: { type: 'string' },
  },
});

/** Iterations that an emulated machine gets through in seconds. */
const cases = [
  { tool: 'ib_send_lat', bytes: 64, iterations: 1000, figure: 'latencyUs' },
  { tool: 'ib_send_bw', bytes: 64, iterations: 5000, figure: 'messagesPerSecond' },
  { tool: 'ib_write_bw', bytes: 65536, iterations: 500, figure: 'bytesPerSecond' },
];
const rxe = { device: 'rxe0', gidIndex: 1 };
/** The kernel's device has the port of RoCE in its own network namespace. */
const elsewhere = ['ip', 'netns', 'exec', 'peer'];
const devices = {
  soft0: ({ tool, bytes, iterations }) => softTool(tool, bytes, iterations, elsewhere),
  rxe0: ({ tool, bytes, iterations }) => perftest(tool, bytes, iterations, rxe),
};

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const rounded = (value) => Number(value.toPrecision(5));

async function measureCase(one) {
  const all = { soft0: [], rxe0: [] };
  for (let run = 1; run <= Number(values.runs); run++) {
    for (const [name, measure] of Object.entries(devices)) {
      console.error(`rxe: run ${run} of ${values.runs}: ${one.tool} ${one.bytes} on ${name}`);
      all[name].push((await measure(one))[one.figure]);
    }
  }
  const [soft0, rxe0] = [median(all.soft0), median(all.rxe0)].map(rounded);
  const { tool, bytes, figure } = one;
  return { tool, bytes, figure, soft0, rxe0, ratio: rounded(soft0 / rxe0) };
}

async function inside() {
  const results = [];
  for (const one of cases) results.push(await measureCase(one));
  writeFileSync(values.into, JSON.stringify({ results }));
}

function outside() {
  const folder = mkdtempSync(join(tmpdir(), 'verbena-bench-rxe-'));
  try {
    const file = join(folder, 'result.json');
    const withRxe = join(root, 'scripts', 'with-rxe.sh');
    const machine = [withRxe, '--netns', '--timeout', '900', '--out', folder];
    const script = [process.execPath, fileURLToPath(import.meta.url), '--runs', values.runs];
    const [program, ...args] = [...machine, '--', ...script, '--into', file];
    execFileSync(program, args, { stdio: ['ignore', 2, 2] });
    const report = JSON.parse(readFileSync(file, 'utf8'));
    if (values.json) console.log(JSON.stringify(report));
    else console.table(report.results);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await main(values.into === undefined ? outside : inside);
