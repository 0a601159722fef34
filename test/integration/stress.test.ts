// The stress scenarios in their short forms, on any device.
import { describe, expect, it, vi } from 'vitest';
import { deathKinds } from '../../src/stress/deaths.js';
import { testDevice } from '../helpers/environment.js';
import { passes, patience } from '../helpers/stress.js';

vi.setConfig(patience);

// An emulated machine takes seconds to start a process. The first eight of the seed are all kinds.
const deaths = testDevice === 'soft' ? '100' : '8';

describe('a scenario with a server of its own', () => {
  it('sequential: 3 clients, one after the other', async () => {
    const result = await passes('sequential', '--requests', '50');
    expect(result).toMatchObject({ clients: 3, server: 'own', judged: ['clients', 'server'] });
  });

  it('concurrent: 5 clients at a time', async () => {
    expect(await passes('concurrent', '--requests', '50')).toMatchObject({
      clients: 5,
      requests: 5 * 51,
    });
  });

  it('full: to capacity, and one more, which is refused', async () => {
    expect(await passes('full', '--clients', '20')).toMatchObject({ clients: 20, provoked: 1 });
  });

  it('cycling: nothing grows', async () => {
    const { clients, details } = await passes('cycling', '--cycles', '50', '--clients', '1');
    expect(clients).toBe(50 + 50);
    expect(details['serverGrowth']).toMatchObject({ descriptors: 0, objects: 0 });
  });

  it('cycling: for a time', async () => {
    const { clients } = await passes('cycling', '--seconds', '1', '--clients', '1');
    expect(clients).toBeGreaterThanOrEqual(50 + 10);
  });

  it('mixed: all kinds of clients at once', async () => {
    expect((await passes('mixed', '--seconds', '1')).clients).toBeGreaterThan(4);
  });

  it('chaos: deaths of all kinds disturb nobody and leave nothing', async () => {
    const { provoked, details } = await passes('chaos', '--deaths', deaths, '--seed', '212');
    expect(provoked).toBe(Number(deaths));
    expect(Object.keys(details['deaths'] ?? {}).sort()).toEqual([...deathKinds].sort());
  });

  it('herd: many at the same moment', async () => {
    const { clients, details } = await passes('herd', '--clients', '40');
    expect(clients).toBe(40);
    expect(details['setupPerSecond']).toBeGreaterThan(0);
  });
});
