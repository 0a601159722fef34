// What the commands share to read their options: numbers, amounts of bytes, ranges of them.
import { InvalidArgumentError } from 'commander';
import { doublings } from '../bench/series.js';

/** Where a command leaves its exit code. */
export type SetExitCode = (code: number) => void;

/** A parser for whole numbers between two limits. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

/** A parser for numbers between two limits, with decimals if need be. */
export function decimal(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a number from ${min} to ${max}.`);
  };
}

const units: Readonly<Record<string, number>> = { '': 1, KiB: 2 ** 10, MiB: 2 ** 20 };

function bytesOf(text: string): number {
  const match = /^(\d+)(KiB|MiB)?$/.exec(text);
  return match === null ? NaN : Number(match[1]) * (units[match[2] ?? ''] ?? NaN);
}

/** A parser for `64`, `4KiB`, and `64..4KiB`, which is a range. */
export function byteRange(
  max: number,
): (text: string) => { readonly min: number; readonly max: number } {
  return (text) => {
    const [first = '', last = first, ...rest] = text.split('..');
    const range = { min: bytesOf(first), max: bytesOf(last) };
    if (rest.length === 0 && range.min <= range.max && range.max <= max) return range;
    throw new InvalidArgumentError(
      `It must be a number of bytes up to ${max}, such as 64 or 4KiB, or a range such as 64..4KiB.`,
    );
  };
}

const mostSteps = 1000;

/** A parser for `1000,2000,5000`, `1000..8000:1000` in even steps, and `1000..8000`, doubled. */
export function steps(min: number, max: number): (text: string) => readonly number[] {
  return (text) => {
    const values = stepsIn(text);
    const isRising = values.every((value, index) => value > (values[index - 1] ?? 0));
    const isWithin = values.every((value) => value >= min && value <= max);
    if (values.length > 0 && values.length <= mostSteps && isRising && isWithin) return values;
    throw new InvalidArgumentError(
      `It must be rising numbers from ${min} to ${max}: 1000,2000 or 1000..8000:1000 or ` +
        '1000..8000, which doubles.',
    );
  };
}

function stepsIn(text: string): number[] {
  const range = /^(\d+)\.\.(\d+)(?::(\d+))?$/.exec(text);
  if (range === null) {
    return /^[\d.]+(,[\d.]+)*$/.test(text) ? text.split(',').map(Number) : [];
  }
  const [from, to, step] = [Number(range[1]), Number(range[2]), range[3]];
  if (step === undefined) return from > 0 ? doublings(from, to, from) : [];
  const count = Math.floor((to - from) / Number(step)) + 1;
  if (!(count >= 1 && count <= mostSteps)) return [];
  return Array.from({ length: count }, (_, index) => from + index * Number(step));
}
