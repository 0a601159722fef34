// `verbena run`: starts any verbs program with the soft device preloaded in place of libibverbs.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { softLibraryPath } from '../native/load.js';
import { codeOf } from '../errors.js';
import { CliFailure } from './failure.js';

export interface RunOptions {
  readonly addr?: string;
  readonly faults?: string;
  readonly pcap?: string;
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

/** Runs the program with our terminal and resolves with its exit code, 128 + n after signal n. */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<number> {
  const child = spawn(program, args, { stdio: 'inherit', env: softEnvironment(options) });
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
