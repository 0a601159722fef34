// `npm run simulate -- [--sanitizers] [--seeds N] [--seed S] [--json]`: plays seeds of the
// simulation; see docs/testing.md.
//
// --sanitizers   under AddressSanitizer and UndefinedBehaviorSanitizer, ten times as slow
import { join } from 'node:path';
import { main, root, run } from './lib/run.mjs';
import { buildTests } from './test-native.mjs';

await main(async (args) => {
  const preset = args.includes('--sanitizers') ? 'asan' : 'default';
  await buildTests(preset, ['simulate']);
  const program = join(root, `build-${preset}`, 'simulate');
  const options = args.filter((arg) => arg !== '--sanitizers');
  const { code } = await run(program, options, { output: 'inherit' });
  return code;
});
