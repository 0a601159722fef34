// Scenario: as many clients as the server takes, and one more, which it must refuse.
import type { Scenario } from '../scenario.js';

const exhausted = 'ERR_VERBENA_RESOURCE_EXHAUSTED';

export const full: Scenario = {
  name: 'full',
  summary: 'to the capacity of the server, and one more, which is refused',
  usual: { clients: 50, requests: 5, size: 64 * 1024 },
  server: ({ clients }) => ({ maxConnections: clients }),
  async play(stage, { clients, requests, size }) {
    const { account } = stage;
    const crew = stage.crew(clients);
    await stage.together(crew, ({ client, count }) => stage.connect(client, count));
    stage.note(`${account.psns.sessions} of ${clients} are connected`);
    const work = { requests, largeBytes: size };
    await stage.attempt(async () => {
      const oneMore = stage.client('one-more');
      account.expectRefusal();
      const { refusals } = await oneMore.call('connect', { count: 1 });
      const code = refusals[0]?.code ?? 'no refusal';
      if (code === exhausted) account.provoked += 1;
      else account.problem(`one client too many met with ${code}, not ${exhausted}`);
      stage.note(`one more: ${refusals[0]?.message ?? 'connected'}`);
      await stage.dismiss(oneMore);
    });
    await stage.together(crew, ({ client }) => client.call('work', work));
  },
};
