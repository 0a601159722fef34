// Scenario: one client that sends and receives, one that writes, one that comes and goes, two idle.
import type { Scenario } from '../scenario.js';

const forever = Number.MAX_SAFE_INTEGER;

export const mixed: Scenario = {
  name: 'mixed',
  summary: 'one sends and receives, one writes by RDMA, one comes and goes, two are idle',
  usual: { seconds: 5, requests: 5, size: 64 * 1024 },
  async play(stage, { seconds, requests, size }) {
    const work = { requests, largeBytes: size };
    const names = ['sender', 'writer', 'idle0', 'idle1'];
    const present = names.map((name) => stage.client(name));
    const [sender, writer, ...idle] = present;
    const guest = stage.client('guest');
    await stage.together(present, (client) => stage.connect(client));
    stage.note('sender, writer and two idle clients are connected');
    await stage.attempt(async () => {
      await sender?.call('loop', { kind: 'requesting', restMs: 0 });
      await writer?.call('loop', { kind: 'writing', restMs: 0 });
      await guest.call('cycle', { ...work, count: forever, forMs: seconds * 1000 });
    });
    stage.note(`the guest came and went for ${seconds} s`);
    await stage.together(present, (client) => client.call('stop', undefined));
    // Nothing was asked of the idle ones meanwhile; they are still there.
    await stage.together(idle, (client) => client.call('work', work));
  },
};
