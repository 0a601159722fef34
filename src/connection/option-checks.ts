// Checks of option values that the server and the client share; an error names the option and what
// is allowed.
import { VerbenaError } from '../errors.js';

function invalid(name: string, allowed: string, value: unknown): VerbenaError {
  const shown = typeof value === 'string' ? `'${value}'` : String(value);
  return new VerbenaError('ERR_VERBENA_INVALID_OPTION', `${name} must be ${allowed}, not ${shown}`);
}

export interface Range {
  readonly min: number;
  readonly max: number;
}

/** The value, or `fallback` when it is not given. */
export function integerOption(
  name: string,
  value: number | undefined,
  fallback: number,
  { min, max }: Range,
): number {
  const result = value ?? fallback;
  if (Number.isInteger(result) && result >= min && result <= max) return result;
  throw invalid(name, `an integer from ${min} to ${max}`, value);
}

/** Durations may be fractions. */
export function numberOption(
  name: string,
  value: number | undefined,
  fallback: number,
  { min, max }: Range,
): number {
  const result = value ?? fallback;
  if (typeof result === 'number' && result >= min && result <= max) return result;
  throw invalid(name, `a number from ${min} to ${max}`, value);
}

export function stringOption(
  name: string,
  value: string | undefined,
  fallback: string,
  maxLength: number,
): string {
  const result: unknown = value ?? fallback;
  if (typeof result === 'string' && result.length <= maxLength) return result;
  throw invalid(name, `a string of at most ${maxLength} characters`, value);
}

/** A payload of 4 KiB fits with its header; in whole cache lines. */
export const DEFAULT_SLOT_BYTES = 4096 + 64;

/** A slot holds at least a header and a few bytes; its size keeps 64-bit values aligned. */
export function slotBytesOption(value: number | undefined, fallback: number, range: Range): number {
  const result = integerOption('slotBytes', value, fallback, range);
  if (result % 64 === 0) return result;
  throw invalid('slotBytes', 'divisible by 64', value);
}

/** Timers of Node fire at once beyond this. */
export const MAX_TIMEOUT_MS = 2 ** 31 - 1;
