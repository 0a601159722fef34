// The stress scenarios in their short forms, on any device.
import { describe, expect, it, vi } from 'vitest';
import { deathKinds } from '../../src/stress/deaths.js';
import { testDevice, timeScale } from '../helpers/environment.js';
import { passes, patience } from '../helpers/stress.js';

vi.setConfig(patience);

/**
 * An emulated machine takes seconds to start a process, so there is less of everything elsewhere.
 * The first eight deaths of the seed are all kinds.
 */
const forms =
  testDevice === 'soft'
    ? { requests: 50, full: 20, cycles: 50, deaths: 100, survivors: 3, herd: 40 }
    : { requests: 5, full: 6, cycles: 10, deaths: 8, survivors: 1, herd: 8 };

const option = (name: string, value: number): string[] => [`--${name}`, String(value)];
const requests = option('requests', forms.requests);

describe('a scenario with a server of its own', () => {
  it('sequential: 3 clients, one after the other', async () => {
    const result = await passes('sequential', ...requests);
    expect(result).toMatchObject({ clients: 3, server: 'own', judged: ['clients', 'server'] });
  });

  it('concurrent: 5 clients at a time', async () => {
    expect(await passes('concurrent', ...requests)).toMatchObject({
      clients: 5,
      requests: 5 * (forms.requests + 1),
    });
  });

  it('full: to capacity, and one more, which is refused', async () => {
    const clients = forms.full;
    const result = await passes('full', ...option('clients', clients));
    expect(result).toMatchObject({ clients, provoked: 1 });
  });

  it('cycling: nothing grows', async () => {
    const limits = [...option('cycles', forms.cycles), ...option('clients', 1)];
    const { clients, details } = await passes('cycling', ...limits, '--size', '4096');
    expect(clients).toBe(50 + forms.cycles);
    expect(details['serverGrowth']).toMatchObject({ descriptors: 0, objects: 0 });
  });

  it('mixed: all kinds of clients at once', async () => {
    expect((await passes('mixed', '--seconds', '1')).clients).toBeGreaterThan(4);
  });

  it('chaos: deaths of all kinds disturb nobody and leave nothing', async () => {
    const { deaths, survivors } = forms;
    const options = [...option('deaths', deaths), ...option('clients', survivors)];
    const pace = [...option('slow', timeScale), ...option('seed', 212)];
    const { provoked, details } = await passes('chaos', ...options, ...pace);
    expect(provoked).toBe(deaths);
    expect(Object.keys(details['deaths'] ?? {}).sort()).toEqual([...deathKinds].sort());
  });

  it('herd: many at the same moment', async () => {
    const { clients, details } = await passes('herd', ...option('clients', forms.herd));
    expect(clients).toBe(forms.herd);
    expect(details['setupPerSecond']).toBeGreaterThan(0);
  });
});
