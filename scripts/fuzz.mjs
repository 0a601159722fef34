// `npm run fuzz -- [--seconds N] [--keep] [--seed N]`: fuzzes each target for N seconds (60), from
// its corpus; with --keep, what covers something new joins the corpus. Those of the soft device are
// libFuzzer's; those of what TypeScript parses are guided by V8's coverage.
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildTypeScript } from './build-ts.mjs';
import { Finding, fuzzParser } from './lib/parser-fuzzer.mjs';
import { Failure, main, must, root, run } from './lib/run.mjs';
import { setup } from './setup.mjs';
import { buildTests } from './test-native.mjs';
import { parserTargets } from '../test/fuzz/parsers.mjs';

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

/** Only the parsers are loaded, and no device. */
async function parserApi() {
  const files = [
    'errors',
    'handshake/frame',
    'handshake/messages',
    'config/schema',
    'bench/plan-file',
  ];
  const modules = files.map((file) => import(join(root, 'dist', `${file}.js`)));
  return Object.assign({}, ...(await Promise.all(modules)));
}

const nameOf = (input) => createHash('sha256').update(input).digest('hex').slice(0, 16);

function fuzzOneParser(name, target, seconds, { keep: mustKeep, seed }) {
  const folder = corpusOf(name);
  const corpus = readdirSync(folder).map((file) => readFileSync(join(folder, file)));
  let result;
  try {
    result = fuzzParser(target, corpus, { seconds, seed });
  } catch (error) {
    if (!(error instanceof Finding)) throw error;
    const file = join(root, 'build-fuzz', `${name}-${nameOf(error.input)}`);
    writeFileSync(file, error.input);
    throw new Failure(`the parser of a ${name} fails with the input in ${file}: ${error.message}`);
  }
  const { runs, covered, found } = result;
  console.log(`${name}: ${runs} inputs in ${seconds} s, ${covered} ranges, nothing found`);
  if (!mustKeep) return;
  const short = found.filter((input) => input.length <= LONGEST_KEPT);
  for (const input of short) writeFileSync(join(folder, nameOf(input)), input);
  console.log(`kept ${short.length} inputs for ${name}`);
}

async function fuzzParsers(seconds, options) {
  await buildTypeScript();
  const targets = parserTargets(await parserApi());
  for (const [name, target] of Object.entries(targets)) {
    fuzzOneParser(name, target, seconds, options);
  }
}

await main(async (args) => {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string', default: '60' },
      keep: { type: 'boolean', default: false },
      seed: { type: 'string', default: String(Date.now() % 2 ** 32) },
    },
  });
  const seed = Number(values.seed);
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
    console.log(`parsers: --seed ${seed}`);
    await fuzzParsers(Number(values.seconds) / 4, { keep: values.keep, seed });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
