// `verbena probe-limits`: shows what a device has room for, and writes it as configuration.
import { readFile, writeFile } from 'node:fs/promises';
import { probeLimits, type ProbedLimit, type ProbeResult } from '../index.js';
import { CliFailure, ExitCode } from './failure.js';

export interface ProbeLimitsOptions {
  readonly device: string;
  readonly softAddr?: string;
  readonly most: number;
  readonly regionBytes: number;
  readonly json: boolean;
  readonly write?: string;
}

function foundText({ found, refusal }: ProbedLimit): string {
  return refusal === undefined ? `at least ${found}` : String(found);
}

function show({ device, most, sessionBytes, limits }: ProbeResult): void {
  const lines = limits.map((limit) => {
    const reported = limit.reported === undefined ? '' : String(limit.reported);
    const why = limit.refusal === undefined ? '' : `  then: ${limit.refusal}`;
    return `${limit.kind.padEnd(20)}${reported.padStart(12)}${foundText(limit).padStart(16)}${why}`;
  });
  process.stdout.write(
    `${device}: up to ${most} of each tried; a session registers ${sessionBytes} bytes\n` +
      `${''.padEnd(20)}${'reported'.padStart(12)}${'found'.padStart(16)}\n${lines.join('\n')}\n`,
  );
}

/** Keeps what else the file has. */
async function writeConfig(path: string, device: string, maxConnections: number): Promise<void> {
  let content: unknown = {};
  try {
    content = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') {
      const hint = 'give --write a file with one JSON object, or one that does not exist';
      throw new CliFailure(`cannot read ${path}`, { cause, hint });
    }
  }
  const config = { ...(content as object), device, maxConnections };
  await writeFile(path, `${JSON.stringify(config, undefined, 2)}\n`);
  process.stderr.write(`wrote ${path}; verbena serve --config ${path} uses it\n`);
}

/** Resolves with the exit code: 1 when the device has no room for a single client. */
export async function probeLimitsCommand(options: ProbeLimitsOptions): Promise<number> {
  const { most, regionBytes, write } = options;
  const result = await probeLimits({
    device: options.device,
    softAddress: options.softAddr,
    most,
    regionBytes,
  });
  const clients = result.limits.find(({ kind }) => kind === 'sessions')?.found ?? 0;
  if (options.json) process.stdout.write(`${JSON.stringify({ ...result, clients })}\n`);
  else show(result);
  if (clients === 0) return ExitCode.failure;
  // 'soft' opens the device that lists itself as soft0.
  if (write !== undefined) await writeConfig(write, options.device, clients);
  return ExitCode.ok;
}
