// Style and static checks: eslint, prettier, clang-format and clang-tidy.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure, main, must, root, run, tool } from './lib/run.mjs';
import { buildFolder, configure } from './test-native.mjs';

function nativeFiles() {
  return ['native', 'test/native']
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)),
    )
    .filter((path) => /\.(cc|h)$/.test(path))
    .sort();
}

const prettierFiles = ['src', 'test', 'scripts', '*.{js,ts,json}'];

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

/** clang-tidy over the sources of the compilation database, two at a time. */
export async function clangTidy() {
  await configure('default');
  const build = buildFolder('default');
  const database = JSON.parse(readFileSync(join(build, 'compile_commands.json'), 'utf8'));
  const files = [...new Set(database.map(({ file }) => file))].filter((file) =>
    file.startsWith(join(root, 'native')),
  );
  const reports = [];
  const worker = async () => {
    for (let file = files.pop(); file !== undefined; file = files.pop()) {
      const args = ['--quiet', '-p', build, '--extra-arg=-Wno-unknown-warning-option', file];
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
