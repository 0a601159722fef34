// Configures, builds and runs the native tests of one CMake preset: default, asan or tsan.
//
//   node scripts/test-native.mjs PRESET [--build | --summary FILE]
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure, headerEnvironment, main, must, root, run } from './lib/run.mjs';

function buildFolder(preset) {
  return join(root, `build-${preset}`);
}

/** Configures one preset. */
function configure(preset) {
  return must('cmake', ['--preset', preset], { output: 'capture', env: headerEnvironment() });
}

/** Builds one preset, or `targets` of it alone. */
export async function buildTests(preset, targets = ['all']) {
  await configure(preset);
  const args = ['--build', '--preset', preset, '-j', '2', '--target', ...targets];
  await must('cmake', args, { output: 'capture' });
}

/** Runs CTest and resolves with how many cases passed and failed; its output goes to stderr. */
export async function runTests(preset) {
  const report = join(buildFolder(preset), 'ctest.xml');
  const args = ['--preset', preset, '-j', '2', '--output-junit', report];
  const { code, text } = await run('ctest', args, { output: 'capture' });
  if (!existsSync(report)) throw new Failure(`ctest wrote no report\n${text}`);
  const [suite] = /<testsuite[^>]*>/.exec(readFileSync(report, 'utf8'));
  const count = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite)[1]);
  const [tests, failures, skipped] = ['tests', 'failures', 'skipped'].map(count);
  const failed = failures + (code !== 0 && failures === 0 ? 1 : 0);
  const wanted = readdirSync(join(root, 'test', 'native')).filter((name) =>
    name.endsWith('_test.cc'),
  );
  if (tests === 0 && wanted.length > 0) throw new Failure(`ctest found no test\n${text}`);
  if (failed > 0) console.error(text);
  return { passed: tests - failures - skipped, failed };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async ([preset, option, summary]) => {
    await buildTests(preset);
    if (option === '--build') return 0;
    const { passed, failed } = await runTests(preset);
    if (option === '--summary') writeFileSync(summary, JSON.stringify({ passed, failed }));
    console.log(`native (${preset}): ${passed} passed, ${failed} failed`);
    return failed === 0 ? 0 : 1;
  });
}
