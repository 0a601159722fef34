// Scenario: clients one after the other, each a process that connects, works and leaves.
import type { Scenario } from '../scenario.js';

export const sequential: Scenario = {
  name: 'sequential',
  summary: 'clients one after the other',
  usual: { clients: 3, requests: 200, size: 1024 * 1024 },
  async play(stage, { clients, requests, size }) {
    for (let index = 0; index < clients && stage.isOpen; index += 1) {
      const client = stage.client(`client${index}`);
      await stage.attempt(async () => {
        await stage.connect(client);
        await client.call('work', { requests, largeBytes: size });
      });
      await stage.dismiss(client);
      stage.note(`${client.name} has left`);
    }
  },
};
