// The number of clients that a server has room for, and the limit that is named for it.
import { describe, expect, it } from 'vitest';
import type { NativeDeviceAttributes } from '../../../src/native/addon.js';
import { parseSystemLimits } from '../../../src/rdma/system-limits.js';
import { capacityOf, type CapacitySources } from '../../../src/server/capacity.js';

const attributes = {
  maxQp: 1000,
  maxCq: 2000,
  maxPd: 3000,
  maxMr: 8000,
} as NativeDeviceAttributes;

function room(changes: {
  options?: Partial<CapacitySources['options']>;
  attributes?: Partial<NativeDeviceAttributes>;
  system?: Partial<CapacitySources['system']>;
}): [number, string] {
  const { clients, limitedBy } = capacityOf({
    options: { maxConnections: 900, maxRegisteredBytes: Infinity, ...changes.options },
    attributes: { ...attributes, ...changes.attributes },
    system: { openFiles: Infinity, lockedBytes: Infinity, ...changes.system },
    sessionBytes: 1000,
  });
  return [clients, limitedBy];
}

describe('the capacity of a server', () => {
  it('is the configuration, where that is the smallest limit', () => {
    expect(room({})).toEqual([900, 'maxConnections']);
    expect(room({ options: { maxRegisteredBytes: 50_999 } })).toEqual([50, 'maxRegisteredBytes']);
  });

  it.each([
    ['max_qp', { maxQp: 10 }, 10],
    ['max_cq', { maxCq: 11 }, 11],
    ['max_pd', { maxPd: 12 }, 12],
    ['max_mr', { maxMr: 27 }, 13],
  ])('is what the device has, by %s', (name, changes, clients) => {
    const [found, limitedBy] = room({ attributes: changes });
    expect(found).toBe(clients);
    expect(limitedBy).toContain(name);
  });

  it('leaves descriptors for more than the clients, and keeps to the memory it may lock', () => {
    expect(room({ system: { openFiles: 100 } })).toEqual([36, 'open files (ulimit -n)']);
    expect(room({ system: { lockedBytes: 8500 } })).toEqual([8, 'locked memory (ulimit -l)']);
  });

  it('of nobody is refused with the limit and what a client takes', () => {
    expect(() => room({ options: { maxRegisteredBytes: 999 } })).toThrow(
      /no room for a single client: maxRegisteredBytes is the limit.*registers 1000 bytes/,
    );
  });
});

describe('the limits of the system', () => {
  const limits = (files: string, locked: string): string =>
    'Limit                     Soft Limit           Hard Limit           Units     \n' +
    `Max open files            ${files}                20000                files     \n` +
    `Max locked memory         ${locked}              8388608              bytes     \n`;

  it('are read from what the kernel tells of the process', () => {
    expect(parseSystemLimits(limits('1024', '8388608'), 'CapEff:\t0000000000000000\n')).toEqual({
      openFiles: 1024,
      lockedBytes: 8_388_608,
    });
  });

  it('do not bind a process that may lock what it wants, nor one without limits', () => {
    const status = 'CapEff:\t0000000000004000\n';
    expect(parseSystemLimits(limits('1024', '65536'), status).lockedBytes).toBe(Infinity);
    expect(parseSystemLimits(limits('unlimited', 'unlimited'), '')).toEqual({
      openFiles: Infinity,
      lockedBytes: Infinity,
    });
    expect(parseSystemLimits('', '')).toEqual({ openFiles: Infinity, lockedBytes: Infinity });
  });
});
