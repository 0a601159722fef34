// Style and static checks: eslint, prettier, clang-format and clang-tidy.
import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure, main, must, root, run, tool } from './lib/run.mjs';
import { layerSources } from './native-sources.mjs';

function nativeFiles() {
  return ['native', 'test']
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)),
    )
    .filter((path) => /\.(cc|h)$/.test(path))
    .sort();
}

const prettierFiles = ['src', 'test', 'bench', 'scripts', '*.{js,ts,json}'];

export function eslint() {
  return must(tool('eslint'), ['--max-warnings', '0', '.'], { output: 'capture' });
}

export function prettierCheck() {
  return must(tool('prettier'), ['--check', '--log-level', 'warn', ...prettierFiles], {
    output: 'capture',
  });
}

export function clangFormatCheck() {
  return must('clang-format', ['--dry-run', '-Werror', ...nativeFiles()], { output: 'capture' });
}

/** Folder of Node's headers: beside this Node, or where node-gyp keeps what it downloaded. */
function nodeHeaders() {
  const beside = join(dirname(dirname(process.execPath)), 'include', 'node');
  if (existsSync(join(beside, 'uv.h'))) return beside;
  return join(homedir(), '.cache', 'node-gyp', process.versions.node, 'include', 'node');
}

/** clang-tidy over every native source, two layers at a time. */
export async function clangTidy() {
  const includes = [
    `-I${join(root, 'native')}`,
    ...['-isystem', nodeHeaders()],
    ...['-isystem', join(root, 'node_modules', 'node-addon-api')],
  ];
  const defines = ['-DNAPI_VERSION=9', '-DNAPI_CPP_EXCEPTIONS', '-DBUILDING_NODE_EXTENSION'];
  const compile = ['--', '-std=gnu++20', '-pthread', ...includes, ...defines];
  const options = [
    ...['--quiet', `--config-file=${join(root, '.clang-tidy')}`],
    '--checks=-bugprone-suspicious-include',
  ];
  const files = [...new Set([...layerSources('addon'), ...layerSources('soft')])];
  const reports = [];
  const worker = async () => {
    for (let file = files.pop(); file !== undefined; file = files.pop()) {
      const args = [...options, file, ...compile];
      const { code, text } = await run('clang-tidy', args, { output: 'capture' });
      if (code !== 0) reports.push(text);
    }
  };
  await Promise.all([worker(), worker()]);
  if (reports.length > 0) throw new Failure(`clang-tidy found:\n${reports.join('\n')}`);
}

async function fixFormat() {
  await must(tool('prettier'), ['--write', '--log-level', 'warn', ...prettierFiles]);
  await must('clang-format', ['-i', ...nativeFiles()]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async (args) => {
    if (args.includes('--fix-format')) return fixFormat();
    for (const check of [eslint, prettierCheck, clangFormatCheck, clangTidy]) await check();
  });
}
