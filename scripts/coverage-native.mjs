// `npm run coverage:native`: lines of the soft device's wire and engine that the native tests, the
// simulation and the fuzz corpora run, by file. Fails below 90 %.
import { readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Failure, main, must, root, run } from './lib/run.mjs';
import { buildTests } from './test-native.mjs';

const LEAST_PERCENT = 90;
const FOLDERS = ['native/soft/wire', 'native/soft/engine'];
const build = join(root, 'build-coverage');

function testTargets() {
  return readdirSync(join(root, 'test', 'native'))
    .filter((name) => /^(wire|engine)_.*_test\.cc$/.test(name))
    .map((name) => name.replace('.cc', ''));
}

function filesUnder(folder, pattern) {
  return readdirSync(folder, { recursive: true })
    .filter((name) => pattern.test(name))
    .map((name) => join(folder, name));
}

/** How often each line ran, by file: the most of all programs that have it. */
async function lineCounts() {
  const counts = new Map();
  for (const notes of filesUnder(build, /\.gcno$/)) {
    const args = ['--json-format', '--stdout', notes];
    const { code, text } = await run('gcov', args, { output: 'capture' });
    if (code !== 0) throw new Failure(`gcov cannot read ${notes}\n${text}`);
    for (const document of text.split('\n').filter((line) => line.startsWith('{'))) {
      for (const { file, lines } of JSON.parse(document).files) {
        const path = relative(root, join(root, relative(root, file)));
        if (!FOLDERS.some((folder) => path.startsWith(`${folder}/`))) continue;
        const known = counts.get(path) ?? new Map();
        counts.set(path, known);
        for (const { line_number: line, count } of lines) {
          known.set(line, Math.max(known.get(line) ?? 0, count));
        }
      }
    }
  }
  return counts;
}

const percentOf = (covered, total) => (100 * covered) / total;

await main(async () => {
  await buildTests('coverage', [...testTargets(), 'simulate', 'fuzz_packet', 'fuzz_verbs']);
  for (const data of filesUnder(build, /\.gcda$/)) rmSync(data);
  for (const target of testTargets()) await must(join(build, target), [], { output: 'capture' });
  await must(join(build, 'simulate'), ['--seeds', '500'], { output: 'capture' });
  for (const target of ['packet', 'verbs']) {
    const corpus = join(root, 'test', 'fuzz', 'corpus', target);
    await must(join(build, `fuzz_${target}`), [corpus], { output: 'capture' });
  }
  let covered = 0;
  let total = 0;
  const counts = await lineCounts();
  for (const [path, lines] of [...counts].filter(([, lines]) => lines.size > 0).sort()) {
    const missed = [...lines].filter(([, count]) => count === 0).map(([line]) => line);
    covered += lines.size - missed.length;
    total += lines.size;
    const percent = percentOf(lines.size - missed.length, lines.size).toFixed(1);
    const where = missed.length === 0 ? '' : `  not run: ${missed.sort((a, b) => a - b).join(' ')}`;
    console.log(`${percent.padStart(5)} %  ${path}${where}`);
  }
  const percent = percentOf(covered, total);
  console.log(`${percent.toFixed(1).padStart(5)} %  of ${total} lines`);
  return percent >= LEAST_PERCENT ? 0 : 1;
});
