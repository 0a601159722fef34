#!/usr/bin/env node
// The `verbena` program: runs one command and turns what it throws into an exit code.
import { CommanderError } from 'commander';
import { describeFailure, ExitCode } from './failure.js';
import { createProgram } from './program.js';

async function main(argv: readonly string[]): Promise<number> {
  let exitCode: number = ExitCode.ok;
  const program = createProgram((code) => (exitCode = code));
  try {
    await program.parseAsync(argv);
    return exitCode;
  } catch (error) {
    // Commander has printed its own message; help and version are thrown with exit code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : ExitCode.usage;
    const failure = describeFailure(error);
    process.stderr.write(`${failure.text}\n`);
    return failure.exitCode;
  }
}

// A reader that has seen enough (`verbena ping | head`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(ExitCode.ok);
  throw error;
});

// Node prints a warning on two lines, with its own process id and advice.
process.removeAllListeners('warning');
process.on('warning', ({ message }) => process.stderr.write(`verbena: warning: ${message}\n`));

process.exitCode = await main(process.argv);
