// `npm run test:conformance`: rdma-core's own tests (of Debian's python3-pyverbs) on the soft
// device, or on the kernel's soft-RoCE device through with-rxe.sh.
//
//   node scripts/conformance.mjs [--device soft0|rxe0] [--json] [--library FILE]
//   node scripts/conformance.mjs --docs [--library FILE]
//     both devices, and the table in docs/soft-device.md
//
// stdout has the counts, with --json as one line of JSON; everything else goes to stderr.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { buildNative } from './build-native.mjs';
import { Failure, main, root, run } from './lib/run.mjs';

const testsOfDebian = '/usr/share/doc/rdma-core/tests';
const page = join(root, 'docs', 'soft-device.md');
const markers = ['<!-- conformance: begin -->', '<!-- conformance: end -->'];
const timeoutSeconds = 400;

/** Debian compresses what lies under /usr/share/doc. */
function copyTests(folder) {
  if (!existsSync(testsOfDebian)) {
    throw new Failure(`${testsOfDebian} is missing; apt-get install python3-pyverbs`);
  }
  cpSync(testsOfDebian, folder, { recursive: true });
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.gz'))) {
    const path = join(folder, name);
    writeFileSync(path.slice(0, -'.gz'.length), gunzipSync(readFileSync(path)));
    rmSync(path);
  }
}

/** pyverbs belongs to Debian's Python, which another in PATH may hide. */
function recorder(folder, report, device, gidIndex) {
  const script = join(root, 'scripts', 'conformance', 'record.py');
  const options = ['--dev', device, '--gid', gidIndex];
  return ['/usr/bin/python3', '-B', script, join(folder, 'tests'), report, ...options];
}

async function runOnSoftDevice(folder, report, library) {
  const command = recorder(folder, report, 'soft0', '0');
  await run('timeout', [String(timeoutSeconds), 'env', `LD_PRELOAD=${library}`, ...command]);
}

async function runOnKernelDevice(folder, report) {
  const limits = ['--timeout', String(timeoutSeconds), '--out', join(folder, 'out')];
  const command = recorder(folder, report, 'rxe0', '1');
  await run(join(root, 'scripts', 'with-rxe.sh'), [...limits, '--', ...command]);
}

/** The last line about a test counts; one that started and did not end has failed. */
function readReport(report) {
  const results = new Map();
  if (!existsSync(report)) return results;
  for (const line of readFileSync(report, 'utf8').split('\n').filter(Boolean)) {
    const { test, outcome, reason } = JSON.parse(line);
    const ended = outcome === 'started' ? { outcome: 'failed', reason: 'did not end' } : null;
    results.set(test.replace(/^tests\./, ''), ended ?? { outcome, reason });
  }
  return results;
}

async function resultsOf(device, library) {
  const folder = mkdtempSync(join(tmpdir(), 'verbena-conformance-'));
  const report = join(folder, 'out', 'report.jsonl');
  try {
    copyTests(join(folder, 'tests'));
    mkdirSync(join(folder, 'out'));
    if (device === 'soft0') await runOnSoftDevice(folder, report, library);
    else await runOnKernelDevice(folder, report);
    const results = readReport(report);
    if (results.size === 0) throw new Failure(`no test ran on ${device}; see above`);
    return results;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function count(device, results) {
  const counts = { device, passed: 0, failed: 0, skipped: 0 };
  for (const { outcome } of results.values()) counts[outcome] += 1;
  return counts;
}

function table(soft, kernel) {
  const names = [...new Set([...soft.keys(), ...kernel.keys()])].sort();
  const outcome = (results, name) => results.get(name)?.outcome ?? 'not run';
  const both = names.filter((name) =>
    [soft, kernel].every((results) => outcome(results, name) === 'skipped'),
  );
  const [ours, theirs] = [count('soft0', soft), count('rxe0', kernel)];
  const row = (name) => `| \`${name}\` | ${outcome(soft, name)} | ${outcome(kernel, name)} |`;
  const total = (key) => `| **${key}** | **${ours[key]}** | **${theirs[key]}** |`;
  return [
    '| test | soft device | rxe |',
    '| --- | --- | --- |',
    ...['passed', 'failed', 'skipped'].map(total),
    ...names.filter((name) => !both.includes(name)).map(row),
    '',
    `${both.length} tests are skipped on both, most of them for adapters of other vendors.`,
  ].join('\n');
}

function writeDocs(soft, kernel) {
  const text = readFileSync(page, 'utf8');
  const [begin, end] = markers.map((marker) => text.indexOf(marker));
  if (begin < 0 || end < begin) throw new Failure(`${page} lacks ${markers.join(' … ')}`);
  const before = text.slice(0, begin + markers[0].length);
  writeFileSync(page, `${before}\n\n${table(soft, kernel)}\n\n${text.slice(end)}`);
}

function print(counts, json) {
  const { device, passed, failed, skipped } = counts;
  const text = `${device}: ${passed} passed, ${failed} failed, ${skipped} skipped`;
  console.log(json ? JSON.stringify(counts) : text);
}

function tellFailures(results) {
  for (const [name, { outcome, reason }] of results) {
    if (outcome === 'failed') console.error(`FAIL  ${name}: ${reason}`);
  }
}

function valueOf(args, option, otherwise) {
  return args.includes(option) ? args[args.indexOf(option) + 1] : otherwise;
}

/** What fails on rxe is the kernel's affair: only the soft device's failures are ours. */
await main(async (args) => {
  const docs = args.includes('--docs');
  const device = valueOf(args, '--device', 'soft0');
  if (!['soft0', 'rxe0'].includes(device)) throw new Failure(`unknown device ${device}`);
  const built = join(root, 'build', 'Release', 'libverbena-soft.so');
  const library = resolve(valueOf(args, '--library', built));
  if (library === built && (docs || device === 'soft0')) await buildNative();
  const all = new Map();
  for (const each of docs ? ['soft0', 'rxe0'] : [device]) {
    const results = await resultsOf(each, library);
    all.set(each, results);
    tellFailures(results);
    print(count(each, results), args.includes('--json'));
  }
  if (docs) writeDocs(all.get('soft0'), all.get('rxe0'));
  return (all.get('soft0') ? count('soft0', all.get('soft0')).failed : 0) === 0 ? 0 : 1;
});
