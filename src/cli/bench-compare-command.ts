// `verbena bench compare`: says what changed between two sets of results, decides the exit code.
import { readFile } from 'node:fs/promises';
import { compareRuns, readRuns, type Comparison, type ComparedRun } from '../bench/compare.js';
import { CliFailure, ExitCode } from './failure.js';

export interface CompareOptions {
  /** Percent. */
  readonly threshold: number;
  readonly json: boolean;
}

async function runsOf(path: string): Promise<ComparedRun[]> {
  try {
    return readRuns(await readFile(path, 'utf8'));
  } catch (cause) {
    const hint = 'give files that `verbena bench --json` printed';
    throw new CliFailure(`cannot read ${path}`, { cause, hint, exitCode: ExitCode.usage });
  }
}

function percentText(change: number): string {
  const percent = (change * 100).toFixed(1);
  return change > 0 ? `+${percent} %` : `${percent} %`;
}

function textOf({ changes, warnings, isWorse }: Comparison): string {
  const lines: string[] = [];
  let load = '';
  for (const { load: next, figure, before, after, change, verdict } of changes) {
    if (next !== load) lines.push(next);
    load = next;
    const range = `${before.median.toFixed(1)} → ${after.median.toFixed(1)}`;
    lines.push(`  ${figure.padEnd(20)} ${range.padEnd(24)} ${percentText(change)}  ${verdict}`);
  }
  return [
    ...lines,
    ...warnings.map((warning) => `warning: ${warning}`),
    isWorse ? 'Something became worse.' : 'Nothing became worse.',
  ].join('\n');
}

/** Resolves with the exit code: 1 when something is worse by more than threshold and noise. */
export async function compareCommand(
  before: string,
  after: string,
  { threshold, json }: CompareOptions,
): Promise<number> {
  const [first, second] = await Promise.all([runsOf(before), runsOf(after)]);
  let comparison: Comparison;
  try {
    comparison = compareRuns(first, second, threshold / 100);
  } catch (cause) {
    const what = `${before} and ${after} do not compare`;
    throw new CliFailure(what, { cause, exitCode: ExitCode.usage });
  }
  process.stdout.write(`${json ? JSON.stringify(comparison) : textOf(comparison)}\n`);
  return comparison.isWorse ? ExitCode.failure : ExitCode.ok;
}
