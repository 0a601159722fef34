// Reads a device's own counters: the soft device's page, or what the kernel shows of others.
import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Values by the device's own names for them; a port's have no port in their name. */
export type DeviceCounters = Readonly<Record<string, number>>;

const NAMES_AT = 2048;
const VALUE_BYTES = 8;

/** The soft device's counters from its page: values from the start, their names from byte 2048. */
export function parseCountersPage(page: Buffer): DeviceCounters {
  const names = page.toString('ascii', NAMES_AT, page.indexOf(0, NAMES_AT)).trim().split('\n');
  const valueAt = (index: number): number => Number(page.readBigUInt64LE(index * VALUE_BYTES));
  return Object.fromEntries(names.map((name, index) => [name, valueAt(index)]));
}

/** The counters in a file that `VERBENA_SOFT_COUNTERS` named; its process may have ended. */
export function readSoftCounters(path: string): DeviceCounters {
  return parseCountersPage(readFileSync(path));
}

async function readFolder(folder: string): Promise<[string, number][]> {
  // Not every driver has every folder, nor every counter on every port.
  const names = await readdir(folder).catch(() => []);
  const entries = await Promise.all(
    names.map(async (name): Promise<[string, number]> => {
      const text = await readFile(join(folder, name), 'utf8').catch(() => '');
      return [name, /^\d+\s*$/.test(text) ? Number(text) : NaN];
    }),
  );
  return entries.filter(([, value]) => !Number.isNaN(value));
}

/** The counters that the kernel shows of one port, and of the device as a whole. */
export async function readKernelCounters(
  device: string,
  port: number,
  root = '/sys/class/infiniband',
): Promise<DeviceCounters> {
  const folders = ['hw_counters', `ports/${port}/counters`, `ports/${port}/hw_counters`];
  const found = await Promise.all(folders.map((each) => readFolder(join(root, device, each))));
  return Object.fromEntries(found.flat());
}
