// The line for a place: strictly in order, never longer than it may be, nobody waits for too long.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WaitingLine } from '../../../src/admission/waiting-line.js';

const TIMEOUT_MS = 100;

type Step =
  | { readonly kind: 'join' }
  | { readonly kind: 'next' }
  | { readonly kind: 'leave'; readonly position: number }
  | { readonly kind: 'wait'; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ kind: 'join' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'next' as const }) },
  fc.record({ kind: fc.constant('leave' as const), position: fc.nat(10) }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 60 }) }),
);

describe('WaitingLine', () => {
  it('does as a plain list would, whoever comes, goes or waits in whatever order', () => {
    fc.assert(
      fc.property(fc.nat(8), fc.array(step, { maxLength: 100 }), (size, steps) => {
        const line = new WaitingLine<number>(size, TIMEOUT_MS);
        const model: { id: number; until: number }[] = [];
        const ends = { served: 0, left: 0, tooLate: 0, refused: 0 };
        let now = 0;
        let ids = 0;
        for (const each of steps) {
          if (each.kind === 'join') {
            const id = ids++;
            const deadline = line.join(id, now);
            if (model.length < size) {
              expect(deadline).toBe(now + TIMEOUT_MS);
              model.push({ id, until: now + TIMEOUT_MS });
            } else {
              expect(deadline).toBeUndefined();
              ends.refused++;
            }
          } else if (each.kind === 'next') {
            const first = model.shift();
            if (first !== undefined) ends.served++;
            expect(line.next()).toBe(first?.id);
          } else if (each.kind === 'leave') {
            const [gone] = model.splice(each.position, 1);
            if (gone !== undefined) ends.left++;
            line.leave(gone?.id ?? -1);
          } else {
            now += each.ms;
            const late = model.filter(({ until }) => until <= now);
            model.splice(0, late.length);
            ends.tooLate += late.length;
            expect(line.expire(now)).toEqual(late.map(({ id }) => id));
          }
          expect(line.nextDeadline).toBe(model[0]?.until ?? Infinity);
          expect(line.stats()).toEqual({ waiting: model.length, size, ...ends });
        }
      }),
    );
  });

  it('tells a wait that follows from how fast places come free', () => {
    const line = new WaitingLine<number>(10, TIMEOUT_MS);
    for (let now = 0; now <= 2000; now += 100) line.noteFreed(now);
    expect(line.retryAfterMs(2000)).toBeGreaterThan(80);
    expect(line.retryAfterMs(2000)).toBeLessThan(120);
    for (let who = 0; who < 9; who++) line.join(who, 2000);
    expect(line.retryAfterMs(2000)).toBeGreaterThan(800);
    expect(line.retryAfterMs(2000)).toBeLessThan(1200);
  });

  it('follows a new size and time for those who come from then on', () => {
    const line = new WaitingLine<string>(1, TIMEOUT_MS);
    line.join('early', 0);
    line.resize(3, 10);
    expect(line.join('late', 0)).toBe(10);
    expect(line.expire(10)).toEqual(['late']);
    expect(line.next()).toBe('early');
  });
});
