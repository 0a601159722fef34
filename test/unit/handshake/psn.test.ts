// Packet sequence numbers: 24 bits, never shared by two live sessions.
import { describe, expect, it } from 'vitest';
import { PsnSet, drawPsn } from '../../../src/handshake/psn.js';

describe('drawPsn', () => {
  it('draws from all of the 24 bits', () => {
    let lowest = Infinity;
    let highest = 0;
    for (let draw = 0; draw < 5000; draw++) {
      const psn = drawPsn();
      lowest = Math.min(lowest, psn);
      highest = Math.max(highest, psn);
    }
    expect(lowest).toBeGreaterThanOrEqual(0);
    expect(lowest).toBeLessThan(2 ** 24 / 100);
    expect(highest).toBeLessThan(2 ** 24);
    expect(highest).toBeGreaterThan(2 ** 24 - 2 ** 24 / 100);
  });

  it('spreads 100,000 draws evenly, none related to the one before', () => {
    const draws = Array.from({ length: 100_000 }, drawPsn);
    for (const shift of [0, 8, 16]) {
      const seen = new Uint32Array(256);
      for (const psn of draws) {
        const bucket = (psn >> shift) & 0xff;
        seen[bucket] = (seen[bucket] ?? 0) + 1;
      }
      const expected = draws.length / 256;
      const chiSquare = seen.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
      // About 255; this much once in 10^12.
      expect(chiSquare).toBeLessThan(450);
    }
    const near = draws.filter((psn, at) => Math.abs(psn - (draws[at - 1] ?? Infinity)) <= 16);
    expect(near.length).toBeLessThan(8);
  });
});

describe('PsnSet', () => {
  it('refuses a number that is live, until it is freed', () => {
    const set = new PsnSet();
    set.claim(7);
    expect(() => set.claim(7)).toThrow(expect.objectContaining({ code: 'ERR_VERBENA_PSN_IN_USE' }));
    set.free(7);
    set.claim(7);
    expect(set.size).toBe(1);
  });

  it('draws again while the number is live', () => {
    const numbers = [1, 2, 1, 3];
    const set = new PsnSet(() => numbers.shift() ?? 0);
    set.claim(1);
    set.claim(2);
    expect(set.draw()).toBe(3);
    expect(() => set.claim(3)).toThrow();
  });
});
