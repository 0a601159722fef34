// Scenario: clients that connect, work a little and close, again and again; nothing may grow.
import { growthOf, growthProblems } from '../growth.js';
import type { Scenario } from '../scenario.js';
import type { Stage } from '../stage.js';
import type { Usage } from '../usage.js';
import type { Client } from '../client.js';

const forever = Number.MAX_SAFE_INTEGER;
/** After each round everything is at rest, and is measured. */
const rounds = 10;
/** Node compiles, and fills its caches, while the first so many connections of a process last. */
const warmUpCycles = 50;
/** Samples that tell what was used at the start, and at the end. */
const compared = 3;

/** What each process uses while no client is connected. */
async function sample(stage: Stage, clients: readonly Client[]): Promise<Map<string, Usage>> {
  await stage.untilEmpty();
  const usages = new Map<string, Usage>();
  if (stage.server !== undefined) usages.set('server', await stage.server.usage());
  for (const client of clients) usages.set(client.name, await client.call('usage', undefined));
  return usages;
}

export const cycling: Scenario = {
  name: 'cycling',
  summary: 'connect, work, close, again and again; memory and descriptors stay flat',
  usual: { clients: 2, cycles: 200, requests: 5, size: 64 * 1024 },
  either: ['cycles', 'seconds'],
  async play(stage, { clients, cycles, seconds, requests, size }) {
    const all = stage.clients(clients);
    const limits = {
      count: cycles === 0 ? forever : Math.ceil(cycles / clients / rounds),
      forMs: seconds === 0 ? forever : (seconds * 1000) / rounds,
    };
    const work = { requests, largeBytes: size };
    const cycle = (limit: typeof limits): Promise<unknown> =>
      stage.together(all, (client) => client.call('cycle', { ...limit, ...work }));
    await cycle({ count: warmUpCycles, forMs: forever });
    const samples = [await sample(stage, all)];
    for (let round = 1; round <= rounds && stage.isOpen; round += 1) {
      await cycle(limits);
      samples.push(await sample(stage, all));
      stage.note(`${stage.account.psns.sessions} clients have come and gone`);
    }
    for (const who of samples[0]?.keys() ?? []) {
      const usages = samples.flatMap((each) => each.get(who) ?? []);
      const growth = growthOf(usages.slice(0, compared), usages.slice(-compared));
      stage.details[`${who}Growth`] = growth;
      for (const problem of growthProblems(who, growth)) stage.account.problem(problem);
    }
  },
};
