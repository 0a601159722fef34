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
            gate.leave(now);
            pending--;
          } else if (gate.enter(now) === undefined) {
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
      gate.enter(now);
      gate.leave(now);
    }
    for (let taken = 0; taken < 100; taken++) expect(gate.enter(2000)).toBeUndefined();
    const refusal = gate.enter(2000);
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

  it('follows a new size: a smaller one takes no more until enough are gone', () => {
    const gate = new RequestGate(3);
    for (let taken = 0; taken < 3; taken++) gate.enter(0);
    gate.queueSize = 2;
    gate.leave(0);
    expect(gate.enter(0)).toMatchObject({ reason: 'queueFull' });
    gate.leave(0);
    expect(gate.enter(0)).toBeUndefined();
  });
});
