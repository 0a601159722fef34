// The port of a kernel's device goes down and up with its network interface: the server hears it.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterEach, expect, it } from 'vitest';
import { testDevice } from '../../helpers/environment.js';
import {
  connectTo,
  expectEqualBytes,
  expectNothingLeft,
  pattern,
  startServer,
} from '../../helpers/verbena.js';

const attributes = `/sys/class/infiniband/${testDevice}/ports/1/gid_attrs`;
const netInterface = readFileSync(`${attributes}/ndevs/0`, 'utf8').trim();

function setLink(state: 'up' | 'down'): void {
  execFileSync('ip', ['link', 'set', netInterface, state]);
}

afterEach(() => {
  setLink('up');
  expectNothingLeft();
});

it('a server takes no newcomers from when the link goes down until it is up', async () => {
  await using server = await startServer();
  const client = await connectTo(server);
  const down = once(server, 'port');
  setLink('down');
  expect(await down).toEqual([false]);
  expect(server.state).toBe('suspended');
  const up = once(server, 'port');
  setLink('up');
  expect(await up).toEqual([true]);
  expect(server.state).toBe('listening');
  expectEqualBytes(await client.request(pattern(100)), pattern(100));
  await client.close();
  await (await connectTo(server)).close();
});
