// Processors of workers: which each gets, and that the system keeps them there.
import { afterEach, describe, expect, it } from 'vitest';
import { loadAddon } from '../../../src/native/load.js';
import { processorsOf } from '../../../src/workers/affinity.js';

describe('processorsOf', () => {
  it.each([
    ['off', 2, [0, 1], [undefined, undefined]],
    ['auto', 2, [0, 1, 2, 3], [1, 2]],
    ['auto', 3, [4, 6, 7], [4, 6, 7]],
    ['auto', 3, [4, 6], [4, 6, 4]],
    [[3, 1], 3, [0, 1, 2, 3], [3, 1, 3]],
  ] as const)('gives with %j %i workers of %j: %j', (affinity, workers, allowed, wanted) => {
    expect(processorsOf(affinity, workers, allowed)).toEqual(wanted);
  });

  it('refuses a processor that the process may not use, and says which it may', () => {
    expect(() => processorsOf([1, 9], 2, [0, 1])).toThrow(
      expect.objectContaining({
        code: 'ERR_VERBENA_INVALID_OPTION',
        message: expect.stringMatching(/processor 9.* may use 0, 1/) as unknown,
      }),
    );
  });
});

describe('the affinity of a thread', () => {
  const addon = loadAddon();
  const before = addon.affinity();

  afterEach(() => addon.setAffinity(before));

  it('is what was set', () => {
    const last = before.at(-1) as number;
    addon.setAffinity([last]);
    expect(addon.affinity()).toEqual([last]);
  });

  it('cannot be a processor that there is not, or none', () => {
    for (const processors of [[8191], []]) {
      expect(() => addon.setAffinity(processors)).toThrow(
        expect.objectContaining({ code: 'ERR_VERBENA_VERBS', errnoName: 'EINVAL' }),
      );
    }
    expect(() => addon.setAffinity([-1])).toThrow(
      expect.objectContaining({ code: 'ERR_VERBENA_ARGUMENT' }),
    );
    expect(addon.affinity()).toEqual(before);
  });
});
