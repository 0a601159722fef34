// `npm run test:threads`: many threads on one soft device, the whole library under ThreadSanitizer.
import { join } from 'node:path';
import { main, root, run } from './lib/run.mjs';
import { buildTests } from './test-native.mjs';

await main(async () => {
  await buildTests('tsan', ['abi_threads_test']);
  const { code } = await run(join(root, 'build-tsan', 'abi_threads_test'), []);
  return code;
});
