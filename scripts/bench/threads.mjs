#!/usr/bin/env node
// Shows how throughput grows with the threads of the load generator: a table, or --json.
//
//   node scripts/bench/threads.mjs [--threads 1,2,4,8] [--device soft] [--json] [-- OPTION...]
//   scripts/with-rxe.sh -- node scripts/bench/threads.mjs --device rxe0 -- --duration 5
//
// It starts a server of its own, that echoes, and `verbena bench` for each number of threads, with
// the options after --. Build first with `npm run build`; the steps go to stderr.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Failure, main, root } from '../lib/run.mjs';

const cli = join(root, 'dist', 'cli', 'main.js');

/** The document that a run prints; what it says meanwhile goes to stderr. */
function bench(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, 'bench', ...args, '--json'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(text));
      else reject(new Failure(`verbena bench ended with status ${code}`));
    });
  });
}

function table(results) {
  const [first] = results;
  const rows = results.map(({ threads, operationsPerSecond, latencyUs, generatorSaturated }) => {
    const speedUp = operationsPerSecond / first.operationsPerSecond;
    const each = speedUp / (threads / first.threads);
    return [
      String(threads),
      Math.round(operationsPerSecond).toLocaleString('en'),
      `${speedUp.toFixed(2)} ×`,
      `${Math.round(each * 100)} %`,
      latencyUs.p50.toFixed(1),
      latencyUs.p99.toFixed(1),
      generatorSaturated ? 'yes' : 'no',
    ];
  });
  const titles = ['threads', 'operations/s', 'speed-up', 'each', 'p50 µs', 'p99 µs', 'saturated'];
  const widths = titles.map((title, column) =>
    Math.max(title.length, ...rows.map((cells) => cells[column].length)),
  );
  return [titles, ...rows]
    .map((cells) => cells.map((cell, column) => cell.padStart(widths[column])).join('  '))
    .join('\n');
}

async function measure(counts, device, more) {
  const { createServer } = await import('../../dist/index.js');
  const { makeDevCertificate } = await import('../../dist/cli/dev-certificate.js');
  const folder = mkdtempSync(join(tmpdir(), 'verbena-threads-'));
  const { ca, cert, key } = await makeDevCertificate();
  const handler = ({ payload }) => payload;
  const server = await createServer({ device, cert, key, cpuThresholdPercent: 100, handler });
  try {
    const file = join(folder, 'ca.pem');
    writeFileSync(file, ca);
    const target = [`127.0.0.1:${server.address().port}`, '--ca', file, '--device', device];
    const results = [];
    for (const count of counts) {
      results.push(await bench([...target, '--client-threads', count, ...more]));
    }
    return results;
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
}

await main(async (args) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      threads: { type: 'string', default: '1,2,4,8' },
      device: { type: 'string', default: 'soft' },
      json: { type: 'boolean', default: false },
    },
  });
  const more = positionals.length === 0 ? ['--duration', '2'] : positionals;
  const results = await measure(values.threads.split(','), values.device, more);
  console.log(values.json ? JSON.stringify(results) : table(results));
});
