// Configures, builds and runs the native tests of one CMake preset: default, asan or tsan.
//
//   node scripts/test-native.mjs PRESET [--build | --summary FILE]
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

/** What a program of CTest's did: its cases where it has some, else itself. */
function countsOf(name, passed, cases) {
  const report = join(cases, `${name}.json`);
  if (!existsSync(report)) return { passed: passed ? 1 : 0, failed: passed ? 0 : 1 };
  const suites = JSON.parse(readFileSync(report, 'utf8')).testsuites;
  const ran = suites.flatMap((suite) => suite.testsuite).filter((one) => one.status === 'RUN');
  const failed = ran.filter((one) => one.failures !== undefined).length;
  const skipped = ran.filter((one) => one.result === 'SKIPPED').length;
  // It may fail without one of them, at its end.
  return { passed: ran.length - failed - skipped, failed: passed ? failed : Math.max(1, failed) };
}

/** Runs CTest and resolves with how many cases passed and failed; its output goes to stderr. */
export async function runTests(preset) {
  const cases = join(buildFolder(preset), 'cases');
  const report = join(buildFolder(preset), 'ctest.xml');
  rmSync(cases, { recursive: true, force: true });
  rmSync(report, { force: true });
  const args = ['--preset', preset, '-j', '2', '--output-junit', report];
  const { code, text } = await run('ctest', args, { output: 'capture' });
  if (!existsSync(report)) throw new Failure(`ctest wrote no report\n${text}`);
  const programs = readFileSync(report, 'utf8').matchAll(
    /<testcase name="([^"]*)"[^>]* status="([^"]*)"/g,
  );
  const total = { passed: 0, failed: 0 };
  for (const [, name, status] of programs) {
    const { passed, failed } = countsOf(name, status === 'run', cases);
    total.passed += passed;
    total.failed += failed;
  }
  if (total.passed === 0) throw new Failure(`ctest found no test\n${text}`);
  if (code !== 0) console.error(text);
  return { ...total, failed: code === 0 ? total.failed : Math.max(1, total.failed) };
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
