// Requests over all connections: never more than there may be, and a refusal that says when.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RequestGate } from '../../../src/admission/request-gate.js';

describe('RequestGate', () => {
  it('never has more pending than it may, and refuses nothing below that', () => {
    const steps = fc.array(fc.boolean(), { maxLength: 300 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), steps, (queueSize, steps) => {
        const gate = new RequestGate(queueSize);
        let pending = 0;
        let refused = 0;
        for (const [now, isNew] of steps.entries()) {
          if (!isNew) {
            if (pending === 0) continue;
            pending--;
            gate.leave(pending, now);
          } else if (gate.enter(pending, now) === undefined) {
            expect(++pending).toBeLessThanOrEqual(queueSize);
          } else {
            expect(pending).toBe(queueSize);
            refused++;
          }
          expect(gate.pending).toBe(pending);
        }
        expect(gate.stats(steps.length).refused.queueFull).toBe(refused);
      }),
    );
  });

  it('tells when all that is pending will have finished, at the rate of late', () => {
    const gate = new RequestGate(100);
    for (let now = 0; now <= 2000; now += 10) {
      gate.enter(0, now);
      gate.leave(0, now);
    }
    for (let taken = 0; taken < 100; taken++) expect(gate.enter(taken, 2000)).toBeUndefined();
    const refusal = gate.enter(100, 2000);
    expect(refusal).toMatchObject({ reason: 'queueFull' });
    expect(refusal?.text).toContain('queueSize');
    expect(refusal?.retryAfterMs).toBeGreaterThan(950);
    expect(refusal?.retryAfterMs).toBeLessThan(1050);
    expect(gate.stats(2000).finishedPerSecond).toBeGreaterThan(95);
  });

  it('counts what a connection sends beyond its own limit apart, and takes no place for it', () => {
    const gate = new RequestGate(2);
    expect(gate.refuseExcess(100, 0)).toMatchObject({ reason: 'connectionLimit' });
    expect(gate.stats(0)).toMatchObject({
      pending: 0,
      queueSize: 2,
      refused: { connectionLimit: 1, queueFull: 0 },
    });
  });

  it('refuses what would hold too much memory, except when nothing holds any', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 100 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), sizes, (most, sizes) => {
        const gate = new RequestGate(1000);
        gate.maxBytes = most;
        const held: number[] = [];
        const sum = (): number => held.reduce((total, bytes) => total + bytes, 0);
        for (const bytes of sizes) {
          const isRefused = gate.refuseForMemory(bytes, 0) !== undefined;
          expect(isRefused).toBe(sum() > 0 && sum() + bytes > most);
          if (isRefused) {
            const first = held.shift() ?? 0;
            gate.hold(-first);
          } else {
            held.push(bytes);
            gate.hold(bytes);
          }
          expect(gate.stats(0).bytes).toBe(sum());
        }
      }),
    );
  });

  it('follows a new size: a smaller one takes no more until enough are gone', () => {
    const gate = new RequestGate(3);
    for (let taken = 0; taken < 3; taken++) gate.enter(taken, 0);
    gate.queueSize = 2;
    gate.leave(2, 0);
    expect(gate.enter(2, 0)).toMatchObject({ reason: 'queueFull' });
    gate.leave(1, 0);
    expect(gate.enter(1, 0)).toBeUndefined();
  });

  it('refuses those with most in flight while load is shed, and nobody else', () => {
    const gate = new RequestGate(1000);
    const own = new Map<string, number>();
    const ask = (who: string): string | undefined => {
      const before = own.get(who) ?? 0;
      const refusal = gate.enter(before, 0);
      if (refusal === undefined) own.set(who, before + 1);
      return refusal?.reason;
    };
    for (let times = 0; times < 60; times++) expect(ask('hog')).toBeUndefined();
    for (const who of ['a', 'b', 'c']) for (let times = 0; times < 4; times++) ask(who);
    gate.isShedding = true;
    expect(ask('hog')).toBe('shedding');
    expect(['a', 'b', 'c', 'newcomer'].map(ask)).toEqual(Array(4).fill(undefined));
    for (let left = 59; left >= 5; left--) gate.leave(left, 0);
    own.set('hog', 5);
    expect(ask('hog')).toBeUndefined();
    gate.isShedding = false;
    for (let times = 0; times < 60; times++) expect(ask('hog')).toBeUndefined();
    expect(gate.stats(0).refused).toMatchObject({ shedding: 1, queueFull: 0 });
  });

  it('refuses nobody for the share of a load that is spread evenly', () => {
    const clients = fc.integer({ min: 1, max: 20 });
    const depths = fc.integer({ min: 1, max: 50 });
    fc.assert(
      fc.property(clients, depths, (clients, depth) => {
        const gate = new RequestGate(10_000);
        gate.isShedding = true;
        for (let round = 0; round < depth; round++) {
          for (let client = 0; client < clients; client++) {
            expect(gate.enter(round, 0)).toBeUndefined();
          }
        }
      }),
    );
  });
});
