// `verbena run`: starts any verbs program with the soft device preloaded in place of libibverbs.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { readSoftCounters } from '../index.js';
import { softLibraryPath } from '../native/load.js';
import { codeOf } from '../errors.js';
import { CliFailure } from './failure.js';

export interface RunOptions {
  readonly addr?: string;
  readonly faults?: string;
  readonly pcap?: string;
  readonly stats?: boolean;
}

/** The environment that makes a program use the soft device. */
export function softEnvironment(
  options: RunOptions,
  base: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  const preload = [softLibraryPath(), base['LD_PRELOAD']].filter(Boolean).join(':');
  return {
    VERBENA_SOFT_LOG: 'stderr',
    ...base,
    LD_PRELOAD: preload,
    ...(options.addr !== undefined && { VERBENA_SOFT_ADDR: options.addr }),
    ...(options.faults !== undefined && { VERBENA_SOFT_FAULTS: options.faults }),
    ...(options.pcap !== undefined && { VERBENA_SOFT_PCAP: options.pcap }),
  };
}

const forwarded = ['SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGINT'] as const;

/** What the device of one process counted, without what it never saw. */
function countersText(file: string, processId: string): string {
  const counted = Object.entries(readSoftCounters(file)).filter(([, value]) => value > 0);
  const width = Math.max(0, ...counted.map(([name]) => name.length));
  const rows = counted.map(([name, value]) => `  ${name.padEnd(width)}  ${value}\n`);
  return `soft device of process ${processId}:\n${rows.join('')}`;
}

/**
 * Runs the program and prints on stderr what its devices counted, each process its own, even of
 * those that were killed.
 */
export async function runWithStats(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'verbena-stats-'));
  try {
    const environment = { ...process.env, VERBENA_SOFT_COUNTERS: join(folder, '%p') };
    const exitCode = await runProgram(program, args, options, environment);
    const processIds = readdirSync(folder).sort((a, b) => Number(a) - Number(b));
    if (processIds.length === 0) process.stderr.write('no process opened the soft device\n');
    for (const each of processIds) process.stderr.write(countersText(join(folder, each), each));
    return exitCode;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs the program with our terminal and resolves with its exit code, 128 + n after signal n. */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions,
  environment?: NodeJS.ProcessEnv,
): Promise<number> {
  const env = softEnvironment(options, environment);
  const child = spawn(program, args, { stdio: 'inherit', env });
  const handlers = forwarded.map((signal) => {
    const handler = (): void => {
      // A terminal sends its Ctrl-C to the program too; once is enough.
      const sentToBoth = process.stdin.isTTY && (signal === 'SIGINT' || signal === 'SIGQUIT');
      if (!sentToBoth) child.kill(signal);
    };
    process.on(signal, handler);
    return () => process.off(signal, handler);
  });
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
      });
    });
  } catch (error) {
    const missing = codeOf(error) === 'ENOENT';
    throw new CliFailure(`cannot run ${program}`, {
      cause: missing ? new Error('there is no such program') : error,
      hint: 'give the program by its path or install the package that has it',
      exitCode: missing ? 127 : 126,
    });
  } finally {
    for (const remove of handlers) remove();
  }
}
