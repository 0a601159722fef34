// Reads the file of counters that the soft device keeps.
import { readFileSync } from 'node:fs';
import { parseCountersPage, type DeviceCounters } from '../../src/rdma/device-counters.js';

export type SoftCounters = DeviceCounters;

export function readSoftCounters(path: string): SoftCounters {
  return parseCountersPage(readFileSync(path));
}
