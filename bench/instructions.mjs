// Counts the instructions of fixed work for the transport under callgrind, which hardly vary, and
// compares them with the recorded ones.
//
//   npm run --silent bench:instructions -- [--json] [--record]
//
// More than 5 % above is a failure. --record writes bench/native/recorded.json anew, for a change that
// is worth its price or has lowered it. Another compiler makes other code: then there is nothing to
// compare with, which is said.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Failure, main, root, run } from '../scripts/lib/run.mjs';
import { setup } from '../scripts/setup.mjs';
import { buildTests } from '../scripts/test-native.mjs';

const TOLERANCE = 0.05;
const works = ['send-64', 'write-64Ki', 'read-64Ki'];
const file = join(root, 'bench', 'native', 'recorded.json');

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
  },
});

/** Instructions of one piece of work, without the start of the program. */
async function count(work, folder) {
  const options = ['--tool=callgrind', '--toggle-collect=fixed_work'];
  const out = `--callgrind-out-file=${join(folder, work)}`;
  const program = join(root, 'build-default', 'fixed_work');
  const { code, text } = await run('valgrind', [...options, out, program, work], {
    output: 'capture',
  });
  const collected = /Collected : (\d+)/.exec(text);
  if (code !== 0 || collected === null) throw new Failure(`valgrind failed\n${text}`);
  return Number(collected[1]);
}

async function countAll() {
  const folder = mkdtempSync(join(tmpdir(), 'verbena-callgrind-'));
  try {
    const counts = {};
    for (const work of works) counts[work] = await count(work, folder);
    return counts;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function print(instructions, recorded) {
  for (const work of works) {
    const ratio = (instructions[work] / recorded.instructions[work]).toFixed(3);
    console.log(`${work}: ${instructions[work]} instructions, ${ratio} of the recorded`);
  }
}

await main(async () => {
  await setup('instructions');
  await buildTests('default', ['fixed_work']);
  const compiler = execFileSync('c++', ['--version'], { encoding: 'utf8' }).split('\n')[0];
  const instructions = await countAll();
  const counted = { compiler, instructions };
  if (values.record) writeFileSync(file, `${JSON.stringify(counted, null, 2)}\n`);
  const recorded = JSON.parse(readFileSync(file, 'utf8'));
  if (values.json) console.log(JSON.stringify({ ...counted, recorded }));
  else print(instructions, recorded);
  if (compiler !== recorded.compiler) {
    console.error(`instructions: recorded with ${recorded.compiler}, this is ${compiler}`);
    return 0;
  }
  const more = works.filter(
    (work) => instructions[work] > recorded.instructions[work] * (1 + TOLERANCE),
  );
  for (const work of more) console.error(`FAIL  ${work} takes more instructions than recorded`);
  return more.length === 0 ? 0 : 1;
});
