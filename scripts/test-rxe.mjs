// `npm run test:rxe`: the tests on the kernel's soft-RoCE device, through with-rxe.sh.
//
//   node scripts/test-rxe.mjs [--full] [--summary FILE] [-- VITEST ARGUMENT...]
//
//   --full   every combination of interoperation instead of every pair; takes about an hour
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildNative } from './build-native.mjs';
import { buildTypeScript } from './build-ts.mjs';
import { main, root, run } from './lib/run.mjs';
import { vitestCommand, vitestCounts } from './lib/vitest.mjs';
import { setup } from './setup.mjs';

const timeoutSeconds = { pairwise: 900, full: 7200 };

/** What runs where rxe0 exists: options of with-rxe.sh, and the vitest project. */
const parts = [{ project: 'interop', machine: ['--netns'] }];

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
  const extent = options.includes('--full') ? 'full' : 'pairwise';
  await setup('test');
  await buildNative();
  await buildTypeScript();
  const total = { passed: 0, failed: 0 };
  for (const part of parts) {
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
