// `npm run simulate -- [--seeds N] [--seed S] [--json]`: plays seeds of the simulation; see
// docs/testing.md.
import { join } from 'node:path';
import { main, root, run } from './lib/run.mjs';
import { buildTests } from './test-native.mjs';

await main(async (args) => {
  await buildTests('default', ['simulate']);
  const program = join(root, 'build-default', 'simulate');
  const { code } = await run(program, args, { output: 'inherit' });
  return code;
});
