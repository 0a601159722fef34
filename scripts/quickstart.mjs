// From a clean clone to the demo: sets the machine up, builds, runs `verbena demo`.
import { join } from 'node:path';
import { buildNative } from './build-native.mjs';
import { buildTypeScript } from './build-ts.mjs';
import { main, root, run } from './lib/run.mjs';
import { setup } from './setup.mjs';

await main(async (args) => {
  await setup('quickstart');
  console.error('building');
  await buildNative();
  await buildTypeScript();
  const demo = [join(root, 'dist', 'cli', 'main.js'), 'demo', ...args];
  const { code } = await run(process.execPath, demo, { output: 'inherit' });
  return code;
});
