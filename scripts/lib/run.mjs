// Running programs for the scripts: everything but a script's own result goes to stderr.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A failure that is told in one line, without a stack. */
export class Failure extends Error {}

/** Environment for node-gyp and cmake-js: the headers beside this Node, when they are there. */
export function headerEnvironment() {
  const prefix = dirname(dirname(process.execPath));
  const local = existsSync(join(prefix, 'include', 'node', 'uv.h'));
  return local ? { ...process.env, npm_config_nodedir: prefix } : { ...process.env };
}

/** The path of a program of this package's dependencies. */
export function tool(name) {
  return join(root, 'node_modules', '.bin', name);
}

const stdioOf = {
  inherit: ['ignore', 'inherit', 'inherit'],
  stderr: ['ignore', 2, 2],
  capture: ['ignore', 'pipe', 'pipe'],
};

/**
 * Runs a program in the repository root. Resolves with its exit code (128 when a signal ended it)
 * and, when `output` is 'capture', what it printed; with 'stderr' its stdout joins stderr.
 */
export function run(command, args, { output = 'stderr', env = process.env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env, stdio: stdioOf[output] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    }
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 128, text }));
  });
}

/** Like `run`, but a non-zero exit is a Failure. */
export async function must(command, args, options) {
  const { code, text } = await run(command, args, options);
  if (code !== 0) {
    throw new Failure(
      `${[command, ...args].join(' ')} failed with exit status ${code}\n${text}`.trim(),
    );
  }
  return text;
}

/** Runs a script's main function; a Failure becomes one message and exit status 1. */
export async function main(body) {
  try {
    process.exitCode = (await body(process.argv.slice(2))) ?? 0;
  } catch (error) {
    console.error(error instanceof Failure ? `verbena: ${error.message}` : error);
    process.exitCode = 1;
  }
}
