// `npm run test:conformance`: rdma-core's own tests (of Debian's python3-pyverbs) on the soft
// device, or on the kernel's soft-RoCE device through with-rxe.sh.
//
//   node scripts/conformance.mjs [--device soft0|rxe0] [--json] [--library FILE]
//   node scripts/conformance.mjs --compare [--summary FILE] [--docs] [--library FILE]
//     both devices side by side; fails where the soft device falls short of rxe; --docs writes the
//     table in docs/soft-device.md
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
import {
  count,
  documentationTable,
  readResults,
  shortcomings,
  sideBySide,
} from './conformance/results.mjs';
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

async function resultsOf(device, library) {
  const folder = mkdtempSync(join(tmpdir(), 'verbena-conformance-'));
  const report = join(folder, 'out', 'report.jsonl');
  try {
    copyTests(join(folder, 'tests'));
    mkdirSync(join(folder, 'out'));
    if (device === 'soft0') await runOnSoftDevice(folder, report, library);
    else await runOnKernelDevice(folder, report);
    const results = readResults(existsSync(report) ? readFileSync(report, 'utf8') : '');
    if (results.size === 0) throw new Failure(`no test ran on ${device}; see above`);
    return results;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function writeDocs(soft, kernel) {
  const text = readFileSync(page, 'utf8');
  const [begin, end] = markers.map((marker) => text.indexOf(marker));
  if (begin < 0 || end < begin) throw new Failure(`${page} lacks ${markers.join(' … ')}`);
  const before = text.slice(0, begin + markers[0].length);
  writeFileSync(page, `${before}\n\n${documentationTable(soft, kernel)}\n\n${text.slice(end)}`);
}

function valueOf(args, option, otherwise) {
  return args.includes(option) ? args[args.indexOf(option) + 1] : otherwise;
}

async function compare(args, library) {
  const soft = await resultsOf('soft0', library);
  const kernel = await resultsOf('rxe0', library);
  const missing = shortcomings(soft, kernel);
  const { passed } = count('soft0', soft);
  const summary = valueOf(args, '--summary', '');
  if (summary !== '') writeFileSync(summary, JSON.stringify({ passed, failed: missing.length }));
  if (args.includes('--docs')) writeDocs(soft, kernel);
  for (const each of missing) console.log(`FAIL  ${each}`);
  console.log(sideBySide(soft, kernel));
  return missing.length === 0 ? 0 : 1;
}

/** What fails on rxe is the kernel's affair: only the soft device's failures are ours. */
async function runOne(device, args, library) {
  const results = await resultsOf(device, library);
  for (const [name, { outcome, reason }] of results) {
    if (outcome === 'failed') console.error(`FAIL  ${name}: ${reason}`);
  }
  const counts = count(device, results);
  const { passed, failed, skipped } = counts;
  const text = `${device}: ${passed} passed, ${failed} failed, ${skipped} skipped`;
  console.log(args.includes('--json') ? JSON.stringify(counts) : text);
  return device === 'rxe0' || failed === 0 ? 0 : 1;
}

await main(async (args) => {
  const both = args.includes('--compare') || args.includes('--docs');
  const device = valueOf(args, '--device', 'soft0');
  if (!['soft0', 'rxe0'].includes(device)) throw new Failure(`unknown device ${device}`);
  const built = join(root, 'build', 'Release', 'libverbena-soft.so');
  const library = resolve(valueOf(args, '--library', built));
  if (library === built && (both || device === 'soft0')) await buildNative();
  return both ? compare(args, library) : runOne(device, args, library);
});
