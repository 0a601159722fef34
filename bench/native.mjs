// What JavaScript costs, and what the protocol costs: the same echo from C++ and from JavaScript, the
// verbs tools on the soft device, and the kernel's UDP below it, runs interleaved, medians.
//
//   npm run --silent bench:native -- [--json] [--runs 5] [--seconds 1]
//
// Build first with `npm run build`. stdout has the result, the steps go to stderr.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildTests } from '../scripts/test-native.mjs';
import { main, root } from '../scripts/lib/run.mjs';
import { softTool } from './native/perftest.mjs';
import { oneSided } from './native/one-sided.mjs';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    runs: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '1' },
  },
});
const { seconds } = values;
const say = (text) => console.error(`native: ${text}`);

function jsonOf(program, ...args) {
  const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 2] };
  return JSON.parse(execFileSync(program, args, options));
}

const built = (name, ...args) => jsonOf(join(root, 'build-default', name), ...args, seconds);

/** The echo of `bench:peers`, which is the same work. */
function javaScriptEcho(name) {
  const script = join(root, 'bench', 'peers.mjs');
  const args = ['--json', '--runs', '1', '--seconds', seconds, '--peers', 'verbena'];
  const { results } = jsonOf(process.execPath, script, ...args, '--cases', name);
  const [{ requestsPerSecond, p50Us, p99Us }] = results;
  return { requestsPerSecond, p50Us, p99Us };
}

const measurements = {
  udp: () => built('raw_udp'),
  'echo-64-1x1 C++': () => built('echo', '1', '1'),
  'echo-64-1x1 JavaScript': () => javaScriptEcho('echo-64-1x1'),
  'echo-64-16x16 C++': () => built('echo', '16', '16'),
  'echo-64-16x16 JavaScript': () => javaScriptEcho('echo-64-16x16'),
  'ib_send_lat 64': () => softTool('ib_send_lat', 64, 20_000),
  'ib_send_bw 64': () => softTool('ib_send_bw', 64, 200_000),
  'ib_write_bw 1Mi': () => softTool('ib_write_bw', 2 ** 20, 2000),
  'ib_read_bw 1Mi': () => softTool('ib_read_bw', 2 ** 20, 2000),
  'write 1Mi JavaScript': () => oneSided('write', 2 ** 20, Number(seconds)),
  'read 1Mi JavaScript': () => oneSided('read', 2 ** 20, Number(seconds)),
};

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const rounded = (value) => Number(value.toPrecision(5));

function medians(all) {
  const keys = Object.keys(all[0]);
  return Object.fromEntries(keys.map((key) => [key, rounded(median(all.map((one) => one[key])))]));
}

function ratiosOf(results) {
  const ratio = (key, above, below) => rounded(results[above][key] / results[below][key]);
  return {
    javaScriptToNativeRequests: {
      'echo-64-1x1': ratio('requestsPerSecond', 'echo-64-1x1 JavaScript', 'echo-64-1x1 C++'),
      'echo-64-16x16': ratio('requestsPerSecond', 'echo-64-16x16 JavaScript', 'echo-64-16x16 C++'),
    },
    javaScriptToToolBytes: {
      'write-1Mi': ratio('bytesPerSecond', 'write 1Mi JavaScript', 'ib_write_bw 1Mi'),
      'read-1Mi': ratio('bytesPerSecond', 'read 1Mi JavaScript', 'ib_read_bw 1Mi'),
    },
    writeToUdpBytes: ratio('bytesPerSecond', 'ib_write_bw 1Mi', 'udp'),
    sendLatencyToHalfUdpRoundTrip: rounded(
      results['ib_send_lat 64'].latencyUs / (results.udp.roundTripUs / 2),
    ),
  };
}

await main(async () => {
  await buildTests('default', ['raw_udp', 'echo']);
  const all = new Map(Object.keys(measurements).map((name) => [name, []]));
  for (let run = 1; run <= Number(values.runs); run++) {
    for (const [name, measure] of Object.entries(measurements)) {
      say(`run ${run} of ${values.runs}: ${name}`);
      all.get(name).push(await measure());
    }
  }
  const results = Object.fromEntries([...all].map(([name, list]) => [name, medians(list)]));
  const report = { results, ratios: ratiosOf(results) };
  if (values.json) console.log(JSON.stringify(report));
  else {
    console.table(results);
    console.log(report.ratios);
  }
});
