// Scenario: many clients that connect at the same moment.
import { percentile } from '../percentile.js';
import type { Scenario } from '../scenario.js';

export const herd: Scenario = {
  name: 'herd',
  summary: 'many clients that connect at the same moment',
  usual: { clients: 100, requests: 5, size: 64 * 1024 },
  server: ({ clients }) => ({
    maxConnections: clients,
    maxPendingHandshakes: clients,
  }),
  async play(stage, { clients, requests, size }) {
    const crew = stage.crew(clients);
    // Whoever has answered is ready to go.
    await stage.together(crew, ({ client }) => client.call('usage', undefined));
    const started = performance.now();
    const connected = await stage.together(crew, ({ client, count }) =>
      stage.connect(client, count),
    );
    const seconds = (performance.now() - started) / 1000;
    const setupMs = connected.flatMap((each) => each?.setupMs ?? []).sort((a, b) => a - b);
    stage.details['setupPerSecond'] = Math.round(setupMs.length / seconds);
    stage.details['setupMs'] = {
      p50: Math.round(percentile(setupMs, 0.5)),
      p99: Math.round(percentile(setupMs, 0.99)),
    };
    stage.note(`${setupMs.length} of ${clients} are connected after ${seconds.toFixed(1)} s`);
    await stage.together(crew, ({ client }) => client.call('work', { requests, largeBytes: size }));
  },
};
