// Reads the file of counters that the soft device keeps.
import { readFileSync } from 'node:fs';

const NAMES_AT = 2048;
const VALUE_BYTES = 8;

export type SoftCounters = Readonly<Record<string, number>>;

export function readSoftCounters(path: string): SoftCounters {
  const page = readFileSync(path);
  const names = page.toString('ascii', NAMES_AT, page.indexOf(0, NAMES_AT)).trim().split('\n');
  const valueAt = (index: number): number => Number(page.readBigUInt64LE(index * VALUE_BYTES));
  return Object.fromEntries(names.map((name, index) => [name, valueAt(index)]));
}
