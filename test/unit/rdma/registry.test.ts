// The registry: closing order, every step although some fail, and an account that adds up.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ResourceRegistry,
  resourceKinds,
  type ResourceKind,
  type ResourceNode,
} from '../../../src/rdma/registry.js';

describe('ResourceRegistry', () => {
  it('closes QP, CQ, MRs, then PD, newest first within a kind', () => {
    const registry = new ResourceRegistry();
    const closed: string[] = [];
    for (const kind of ['pd', 'cq', 'qp', 'mr', 'mr'] as const) {
      const name = `${kind} ${registry.size}`;
      registry.add(kind, 'session', 0, { close: () => closed.push(name) });
    }
    registry.add('qp', 'other', 0, { close: () => closed.push('other') });
    expect(registry.closeOwner('session')).toEqual([]);
    expect(closed).toEqual(['qp 2', 'cq 1', 'mr 4', 'mr 3', 'pd 0']);
    expect(registry.counts()).toEqual({ qp: 1, cq: 0, mr: 0, pd: 0, pollGroup: 0, device: 0 });
  });

  it('closes everything else when one closer fails, and keeps what is left with the reason', () => {
    const registry = new ResourceRegistry();
    const closed: string[] = [];
    const busy = new Error('busy');
    registry.add('pd', 'session', 0, { close: () => closed.push('pd') });
    registry.add('mr', 'session', 4096, {
      close: () => {
        throw busy;
      },
    });
    registry.add('qp', 'session', 0, { close: () => closed.push('qp') });
    expect(registry.closeOwner('session')).toEqual([busy]);
    expect(closed).toEqual(['qp', 'pd']);
    expect(registry.snapshot()).toEqual([
      expect.objectContaining({ kind: 'mr', owner: 'session', bytes: 4096, closeError: 'busy' }),
    ]);
    expect(registry.bytes).toBe(4096);
  });

  it('closes an object once', () => {
    const registry = new ResourceRegistry();
    let closed = 0;
    const handle = registry.add('qp', 'session', 0, { close: () => closed++ });
    registry.close(handle);
    registry.close(handle);
    expect(closed).toBe(1);
    expect(registry.closeOwner('session')).toEqual([]);
  });

  it('tells kind, owner, age and bytes of each object', () => {
    const registry = new ResourceRegistry();
    registry.add('mr', 'client-1', 100, { close: () => undefined });
    const [record] = registry.snapshot();
    expect(record).toMatchObject({ kind: 'mr', owner: 'client-1', bytes: 100 });
    expect(record?.ageMs).toBeGreaterThanOrEqual(0);
    expect(Math.abs((record?.createdAtMs ?? 0) - Date.now())).toBeLessThan(5000);
  });

  it('shows what each owner made from what', () => {
    const registry = new ResourceRegistry();
    const add = (kind: ResourceKind, owner: string, bytes = 0): void => {
      registry.add(kind, owner, bytes, { close: () => undefined });
    };
    add('device', 'soft0');
    add('pollGroup', 'soft0');
    for (const kind of ['pd', 'cq', 'qp'] as const) add(kind, 'client-1');
    add('mr', 'client-1', 4096);
    add('mr', 'client-1', 100);
    // Made by hand, without a protection domain of its own.
    add('mr', 'client-2', 7);
    const shape = ({ kind, children }: ResourceNode): unknown =>
      children.length === 0 ? kind : { [kind]: children.map(shape) };
    expect(
      registry.tree().map(({ owner, bytes, objects }) => [owner, bytes, objects.map(shape)]),
    ).toEqual([
      ['soft0', 0, [{ device: ['pollGroup'] }]],
      ['client-1', 4196, [{ pd: [{ cq: ['qp'] }, 'mr', 'mr'] }]],
      ['client-2', 7, ['mr']],
    ]);
  });

  it('adds up for any objects of any owners, whichever closers fail', () => {
    const objects = fc.array(
      fc.record({
        kind: fc.constantFrom(...resourceKinds),
        owner: fc.constantFrom('a', 'b', 'c'),
        bytes: fc.nat(1000),
        fails: fc.boolean(),
      }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(objects, (all) => {
        const registry = new ResourceRegistry();
        const closed: { rank: number; owner: string }[] = [];
        for (const { kind, owner, bytes, fails } of all) {
          const close = (): void => {
            if (fails) throw new Error('busy');
            closed.push({ rank: resourceKinds.indexOf(kind), owner });
          };
          registry.add(kind, owner, bytes, { close });
        }
        for (const owner of ['a', 'b', 'c']) {
          const failing = all.filter((object) => object.owner === owner && object.fails);
          expect(registry.closeOwner(owner)).toHaveLength(failing.length);
          const ranks = closed.filter((one) => one.owner === owner).map(({ rank }) => rank);
          expect(ranks).toEqual([...ranks].sort((x, y) => x - y));
        }
        const left = all.filter(({ fails }) => fails);
        expect(registry.size).toBe(left.length);
        expect(registry.bytes).toBe(left.reduce((sum, { bytes }) => sum + bytes, 0));
      }),
    );
  });
});
