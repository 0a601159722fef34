// What `verbena bench` says about arguments that it does not even begin with.
import { CommanderError } from 'commander';
import { CliFailure } from '../../src/cli/failure.js';
import { createProgram } from '../../src/cli/program.js';

/** The exit code and the message of a refusal; throws when there is none. */
export async function refusalOf(...args: string[]): Promise<{ code: number; message: string }> {
  const program = createProgram(() => undefined);
  for (const command of [program, ...program.commands]) {
    command.configureOutput({ writeErr: () => undefined });
  }
  try {
    await program.parseAsync(['node', 'verbena', 'bench', '127.0.0.1:1', ...args]);
  } catch (error) {
    if (error instanceof CliFailure) return { code: error.exitCode, message: error.message };
    if (error instanceof CommanderError) return { code: 2, message: error.message };
    throw error;
  }
  throw new Error('it was not refused');
}
