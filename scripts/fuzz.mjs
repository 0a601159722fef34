// `npm run fuzz -- [--seconds N] [--keep]`: fuzzes each target for N seconds (60), from its corpus;
// with --keep, what covers something new joins the corpus.
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Failure, main, must, root, run } from './lib/run.mjs';
import { setup } from './setup.mjs';
import { buildTests } from './test-native.mjs';

const TARGETS = ['packet', 'verbs'];
const LONGEST_INPUT = 4096;
const LONGEST_KEPT = 1500;

const program = (target) => join(root, 'build-fuzz', `fuzz_${target}`);
const corpusOf = (target) => join(root, 'test', 'fuzz', 'corpus', target);

/** Fuzzes one target; what it found is in its own output, and the input lies in build-fuzz. */
async function fuzz(target, seconds, found) {
  const findings = `${join(root, 'build-fuzz')}/${target}-`;
  const limits = [`-max_total_time=${seconds}`, `-max_len=${LONGEST_INPUT}`, '-timeout=10'];
  const options = [...limits, `-artifact_prefix=${findings}`, '-print_final_stats=1'];
  const args = [...options, found, corpusOf(target)];
  const { code, text } = await run(program(target), args, { output: 'capture' });
  if (code !== 0) throw new Failure(`fuzz_${target} found something:\n${text.slice(-6000)}`);
  const [, runs] = /number_of_executed_units: (\d+)/.exec(text);
  const [, covered] = /.* cov: (\d+)/s.exec(text);
  console.log(`fuzz_${target}: ${runs} inputs in ${seconds} s, ${covered} edges, nothing found`);
}

async function keep(target, found) {
  const before = readdirSync(corpusOf(target)).length;
  const options = ['-set_cover_merge=1', '-use_counters=0', `-max_len=${LONGEST_KEPT}`];
  await must(program(target), [...options, corpusOf(target), found], { output: 'capture' });
  console.log(`kept ${readdirSync(corpusOf(target)).length - before} inputs for fuzz_${target}`);
}

await main(async (args) => {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '60' },
      keep: { type: 'boolean', default: false },
    },
  });
  await setup('fuzz');
  await buildTests(
    'fuzz',
    TARGETS.map((target) => `fuzz_${target}`),
  );
  const folder = mkdtempSync(join(tmpdir(), 'verbena-fuzz-'));
  try {
    const each = async (target) => {
      const found = join(folder, target);
      mkdirSync(found);
      await fuzz(target, values.seconds, found);
      if (values.keep) await keep(target, found);
    };
    await Promise.all(TARGETS.map(each));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
