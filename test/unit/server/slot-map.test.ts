// Slots: a stale id never reaches the next client, and what is freed can be taken again.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_SLOTS, SlotMap } from '../../../src/server/slot-map.js';

describe('SlotMap', () => {
  it('behaves like a bounded map whose keys are never used twice', () => {
    const steps = fc.array(fc.oneof(fc.constant('take' as const), fc.nat(30)), { maxLength: 200 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), steps, (capacity, schedule) => {
        const slots = new SlotMap<string>(capacity);
        const model = new Map<number, string>();
        const everTaken: number[] = [];
        for (const [position, step] of schedule.entries()) {
          if (step === 'take') {
            const value = `value ${position}`;
            const id = slots.take(value);
            expect(id === undefined).toBe(model.size === capacity);
            if (id === undefined) continue;
            expect(everTaken).not.toContain(id);
            everTaken.push(id);
            model.set(id, value);
          } else {
            const id = everTaken[step];
            if (id !== undefined) expect(slots.free(id)).toBe(model.delete(id));
          }
          for (const id of everTaken) expect(slots.get(id)).toBe(model.get(id));
          expect(slots.size).toBe(model.size);
        }
        expect([...slots.values()].sort()).toEqual([...model.values()].sort());
      }),
    );
  });

  it('gives out no id of 0 and none of more than 32 bits', () => {
    const slots = new SlotMap<number>(1);
    for (let round = 0; round < 70_000; round++) {
      const id = slots.take(round);
      if (id === undefined || id <= 0 || id > 0xffff_ffff) throw new Error(`id ${id}`);
      slots.free(id);
    }
    expect(slots.size).toBe(0);
  });

  it('is never larger than its ids can name', () => {
    expect(new SlotMap(1e9).capacity).toBe(MAX_SLOTS);
  });
});
