// `npm run test:stress`, `test:browser`, `test:udp`, `test:node`: a project of the tests, run by
// itself, or with another Node.
//
//   node scripts/test-project.mjs PROJECT [--node MAJOR] [--udp] [--summary FILE] [FILTER...]
//
// --udp      soft devices of this machine exchange their packets by the network
// FILTER...  only the files with one of these in their paths
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildNative } from './build-native.mjs';
import { buildTypeScript } from './build-ts.mjs';
import { main, must, run } from './lib/run.mjs';
import { vitestCommand, vitestCounts } from './lib/vitest.mjs';
import { setup } from './setup.mjs';

/** The environment in which `node` is the newest of that major version, from npm, in `folder`. */
async function environmentOf({ node: major, udp }, folder) {
  const base = udp ? { ...process.env, VERBENA_SOFT_LOCAL: 'udp' } : process.env;
  if (major === undefined) return base;
  const name = `node-linux-${process.arch}`;
  await must('npm', ['install', '--no-save', '--no-audit', '--prefix', folder, `${name}@${major}`]);
  const PATH = [join(folder, 'node_modules', name, 'bin'), process.env.PATH].join(delimiter);
  return { ...base, PATH };
}

await main(async (argv) => {
  const options = {
    node: { type: 'string' },
    udp: { type: 'boolean', default: false },
    summary: { type: 'string' },
  };
  const { values, positionals } = parseArgs({ args: argv, options, allowPositionals: true });
  const [project, ...filters] = positionals;
  await setup(project === 'browser' ? 'browser' : 'test');
  await buildNative();
  await buildTypeScript();
  const folder = mkdtempSync(join(tmpdir(), `verbena-${project}-`));
  try {
    const env = await environmentOf(values, folder);
    const report = join(folder, 'vitest.json');
    const [command, ...args] = vitestCommand(report, 'default', '--project', project, ...filters);
    const { code } = await run(command, args, { output: 'inherit', env });
    const counts = vitestCounts(report, code);
    if (values.summary !== undefined) writeFileSync(values.summary, JSON.stringify(counts));
    const node = values.node === undefined ? '' : `, Node ${values.node}`;
    const where = values.udp ? `${node}, by UDP` : node;
    console.log(`${project}${where}: ${counts.passed} passed, ${counts.failed} failed`);
    return counts.failed === 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
