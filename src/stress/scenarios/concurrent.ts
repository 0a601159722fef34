// Scenario: clients that are connected and work at the same time.
import type { Scenario } from '../scenario.js';

export const concurrent: Scenario = {
  name: 'concurrent',
  summary: 'clients at the same time',
  usual: { clients: 5, requests: 200, size: 1024 * 1024 },
  async play(stage, { clients, requests, size }) {
    const all = stage.clients(clients);
    await stage.together(all, (client) => stage.connect(client));
    stage.note('all have tried to connect');
    await stage.together(all, (client) => client.call('work', { requests, largeBytes: size }));
    stage.note('all have worked');
  },
};
