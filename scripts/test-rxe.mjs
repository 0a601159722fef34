// `npm run test:rxe`: the tests on the kernel's soft-RoCE device, through with-rxe.sh.
//
//   node scripts/test-rxe.mjs [--only PART] [--full] [--summary FILE] [-- VITEST ARGUMENT...]
//
//   --only   integration (this suite on rxe0) or interop (the soft device against rxe0)
//   --full   every combination of interoperation instead of every pair; takes about ten minutes
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildNative } from './build-native.mjs';
import { buildTypeScript } from './build-ts.mjs';
import { Failure, main, root, run } from './lib/run.mjs';
import { vitestCommand, vitestCounts } from './lib/vitest.mjs';
import { setup } from './setup.mjs';

const timeoutSeconds = { pairwise: 2400, full: 7200 };

// An emulated machine is many times slower than its host, and other work may share the cores.
const timeScale = 5;

/** What runs where rxe0 exists: options of with-rxe.sh, and the vitest project. */
const parts = [
  { project: 'integration', machine: [] },
  { project: 'interop', machine: ['--netns'] },
];

async function runPart({ project, machine }, extent, vitestArgs) {
  const out = mkdtempSync(join(tmpdir(), 'verbena-rxe-'));
  const report = join(out, 'vitest.json');
  const limits = ['--timeout', String(timeoutSeconds[extent]), '--out', out];
  const command = vitestCommand(report, 'verbose', '--project', project, ...vitestArgs);
  const env = {
    ...process.env,
    // The machine's output is a serial line, which looks like a terminal.
    CI: 'true',
    NO_COLOR: '1',
    VERBENA_TEST_DEVICE: 'rxe0',
    VERBENA_TEST_TIME_SCALE: String(timeScale),
    VERBENA_INTEROP: extent,
  };
  try {
    const withRxe = join(root, 'scripts', 'with-rxe.sh');
    const args = [...machine, ...limits, '--', ...command];
    const { code } = await run(withRxe, args, { output: 'inherit', env });
    return vitestCounts(report, code);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

await main(async (args) => {
  const separator = args.includes('--') ? args.indexOf('--') : args.length;
  const [options, vitestArgs] = [args.slice(0, separator), args.slice(separator + 1)];
  const only = options.includes('--only') ? options[options.indexOf('--only') + 1] : undefined;
  const chosen = parts.filter(({ project }) => only === undefined || project === only);
  if (chosen.length === 0) throw new Failure(`--only knows no part ${only}`);
  const extent = options.includes('--full') ? 'full' : 'pairwise';
  await setup('test');
  await buildNative();
  await buildTypeScript();
  const total = { passed: 0, failed: 0 };
  for (const part of chosen) {
    const started = performance.now();
    const { passed, failed } = await runPart(part, extent, vitestArgs);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`${part.project} on rxe0: ${passed} passed, ${failed} failed (${seconds} s)`);
    total.passed += passed;
    total.failed += failed;
  }
  const summary = options[options.indexOf('--summary') + 1];
  if (options.includes('--summary')) writeFileSync(summary, JSON.stringify(total));
  return total.failed === 0 ? 0 : 1;
});
