// Checks the JSON that `verbena demo --json` printed into a file, and names what is wrong.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Failure, main } from './lib/run.mjs';

/** What a good run of the demo must say, as [what, holds]. */
export function demoChecks(result) {
  return [
    ['ran on the soft device', result.device.startsWith('soft')],
    ['10 clients', result.clients === 10],
    ['10 connected', result.connected === 10],
    ['10 unique PSN pairs', result.uniquePsns === 10],
    ['requests were made', result.requests >= 10],
    ['no error', result.errors === 0],
    ['8 MiB came back to each client', result.bytesVerified >= 10 * 8 * 1024 * 1024],
    [
      'latencies are ordered',
      0 < result.latencyUs.p50 && result.latencyUs.p50 <= result.latencyUs.p99,
    ],
    ['a rate', result.requestsPerSecond > 0],
    ['nothing leaked', ['pd', 'cq', 'qp', 'mr'].every((kind) => result.leaked[kind] === 0)],
  ];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(([file]) => {
    const text = readFileSync(file, 'utf8');
    const checks = demoChecks(JSON.parse(text));
    const wrong = checks.filter(([, holds]) => !holds).map(([what]) => what);
    if (wrong.length > 0) throw new Failure(`the demo fell short: ${wrong.join('; ')}\n${text}`);
    console.log(`demo: ${checks.length} checks hold`);
  });
}
