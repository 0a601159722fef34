// `npm test`: sets the machine up, builds, checks the style and runs every test.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildNative } from './build-native.mjs';
import { buildTypeScript } from './build-ts.mjs';
import { clangFormatCheck, clangTidy, eslint, prettierCheck } from './lint.mjs';
import { main, must, run, tool } from './lib/run.mjs';
import { vitestCommand, vitestCounts } from './lib/vitest.mjs';
import { setup } from './setup.mjs';
import { buildTests, runTests } from './test-native.mjs';

const totals = { checks: { passed: 0, failed: 0 } };

/** Runs one step, reports it and counts it as a check; a failure does not stop the others. */
async function step(name, body) {
  const started = performance.now();
  try {
    await body();
    totals.checks.passed += 1;
    console.log(`ok    ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
    return true;
  } catch (error) {
    totals.checks.failed += 1;
    console.log(`FAIL  ${name}\n${error.message}`);
    return false;
  }
}

/** Runs a test suite and keeps its counts; a suite that could not run counts as one failure. */
async function suite(name, body) {
  const started = performance.now();
  try {
    totals[name] = await body();
  } catch (error) {
    console.log(error.message);
    totals[name] = { passed: 0, failed: 1 };
  }
  const { passed, failed } = totals[name];
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const verdict = failed === 0 ? 'ok   ' : 'FAIL ';
  console.log(`${verdict} ${name}: ${passed} passed, ${failed} failed (${seconds} s)`);
}

const projects = ['--project', 'unit', '--project', 'integration'];

async function vitest(folder) {
  const report = join(folder, 'vitest.json');
  const [command, ...args] = vitestCommand(report, 'default', ...projects);
  const { code } = await run(command, args, { output: 'inherit' });
  return vitestCounts(report, code);
}

/** Two lanes for two cores: what takes long and is parallel itself, and the rest. */
async function buildAndCheck() {
  const scripts = async () => {
    await step('build TypeScript', buildTypeScript);
    await step('type check', () => must(tool('tsc'), ['-p', 'tsconfig.test.json'], captured));
    await step('eslint', eslint);
    await step('prettier', prettierCheck);
    await step('clang-format', clangFormatCheck);
    await step('clang-tidy', clangTidy);
  };
  const native = async () => {
    await step('build addon and soft device', buildNative);
    await step('build native tests', () => buildTests('default'));
  };
  await Promise.all([scripts(), native()]);
}
const captured = { output: 'capture' };

await main(async (args) => {
  await setup('test');
  const folder = mkdtempSync(join(tmpdir(), 'verbena-test-'));
  try {
    await buildAndCheck();
    await suite('native tests', () => runTests('default'));
    await suite('vitest', () => vitest(folder));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const counts = Object.values(totals);
  const passed = counts.reduce((sum, count) => sum + count.passed, 0);
  const failed = counts.reduce((sum, count) => sum + count.failed, 0);
  const summary = args[args.indexOf('--summary') + 1];
  if (args.includes('--summary')) writeFileSync(summary, JSON.stringify({ passed, failed }));
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
});
