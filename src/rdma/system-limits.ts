// Limits of the operating system on this process that bound what can be registered and opened.
import { readFileSync } from 'node:fs';

/** Infinity where there is no limit, or none can be read. */
export interface SystemLimits {
  readonly openFiles: number;
  /** Memory that a process without CAP_IPC_LOCK may pin; registering with an adapter pins. */
  readonly lockedBytes: number;
}

const CAP_IPC_LOCK = 14n;

function softLimit(limits: string, name: string): number {
  const text = new RegExp(`^${name} +(\\d+)`, 'm').exec(limits)?.[1];
  return text === undefined ? Infinity : Number(text);
}

/** From the texts of /proc/self/limits and /proc/self/status. */
export function parseSystemLimits(limits: string, status: string): SystemLimits {
  const capabilities = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  const mayLock = ((capabilities >> CAP_IPC_LOCK) & 1n) === 1n;
  return {
    openFiles: softLimit(limits, 'Max open files'),
    lockedBytes: mayLock ? Infinity : softLimit(limits, 'Max locked memory'),
  };
}

/** Of this process, now. `pins`: whether the device locks what is registered with it. */
export function readSystemLimits(pins: boolean): SystemLimits {
  const limits = parseSystemLimits(read('/proc/self/limits'), read('/proc/self/status'));
  return pins ? limits : { ...limits, lockedBytes: Infinity };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
