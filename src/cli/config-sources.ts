// Where the settings of `verbena serve` come from: flags, the environment and a file.
import { readFile } from 'node:fs/promises';
import { ConfigProblem, type ConfigSources } from '../config/schema.js';
import { CliFailure, ExitCode } from './failure.js';

async function readConfigFile(path: string): Promise<{ path: string; content: unknown }> {
  try {
    return { path, content: JSON.parse(await readFile(path, 'utf8')) as unknown };
  } catch (cause) {
    throw new CliFailure(`cannot read the configuration ${path}`, {
      cause,
      hint: 'give --config a file with one JSON object',
      exitCode: ExitCode.config,
    });
  }
}

/** What `read` makes of all sources; its faults become one line and an exit code. */
export async function readSettings<Result>(
  flags: Readonly<Record<string, unknown>>,
  read: (sources: ConfigSources) => Result,
): Promise<Result> {
  const path = flags['config'] ?? process.env['VERBENA_CONFIG'];
  const file = typeof path === 'string' ? await readConfigFile(path) : undefined;
  try {
    return read({ flags, env: process.env, file });
  } catch (error) {
    if (!(error instanceof ConfigProblem)) throw error;
    const exitCode = error.fromFlag ? ExitCode.usage : ExitCode.config;
    throw new CliFailure(error.message, { exitCode });
  }
}
