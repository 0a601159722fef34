// `verbena config`: what `verbena serve` would run with, and where each value comes from.
import { effectiveSettings, type EffectiveSetting } from '../config/schema.js';
import { readSettings } from './config-sources.js';
import { ExitCode } from './failure.js';

function shown(value: unknown): string {
  if (value === undefined) return '–';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** One setting a line: key, value, source. */
function table(settings: readonly EffectiveSetting[]): string {
  const rows = settings.map(({ key, value, source, from }) => [
    key,
    shown(value),
    value === undefined ? 'not set' : source === 'default' ? 'default' : from,
  ]);
  const width = (column: number): number =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0));
  return rows
    .map(([key = '', value = '', from = '']) => {
      return `${key.padEnd(width(0))}  ${value.padEnd(width(1))}  ${from}\n`;
    })
    .join('');
}

function json(settings: readonly EffectiveSetting[]): string {
  const entries = settings.map(({ key, value, source, from }) => {
    return [key, { value: value ?? null, source, from }];
  });
  return `${JSON.stringify(Object.fromEntries(entries))}\n`;
}

/** Prints the effective settings; faults are told as `verbena serve` tells them. */
export async function configCommand(flags: Readonly<Record<string, unknown>>): Promise<number> {
  const settings = await readSettings(flags, effectiveSettings);
  process.stdout.write(flags['json'] === true ? json(settings) : table(settings));
  return ExitCode.ok;
}
