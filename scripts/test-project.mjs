// `npm run test:stress`, `npm run test:browser`: a project of the tests that has a run of its own.
//
//   node scripts/test-project.mjs PROJECT [--summary FILE]
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildNative } from './build-native.mjs';
import { buildTypeScript } from './build-ts.mjs';
import { main, run } from './lib/run.mjs';
import { vitestCommand, vitestCounts } from './lib/vitest.mjs';
import { setup } from './setup.mjs';

await main(async ([project, option, summary]) => {
  await setup(project === 'browser' ? 'browser' : 'test');
  await buildNative();
  await buildTypeScript();
  const folder = mkdtempSync(join(tmpdir(), `verbena-${project}-`));
  try {
    const report = join(folder, 'vitest.json');
    const [command, ...args] = vitestCommand(report, 'default', '--project', project);
    const { code } = await run(command, args, { output: 'inherit' });
    const counts = vitestCounts(report, code);
    if (option === '--summary') writeFileSync(summary, JSON.stringify(counts));
    console.log(`${project}: ${counts.passed} passed, ${counts.failed} failed`);
    return counts.failed === 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
