// Which work the poll group is told of as transfers, and that none is forgotten when it ends.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Connection, Server } from '../../src/index.js';
import { acquireDevice, type DeviceLease } from '../../src/rdma/device.js';
import { testDevice } from '../helpers/environment.js';
import { connectTo, startServer } from '../helpers/verbena.js';

const LARGE = 1024 * 1024;
/** Too large to arrive while a connection is given a millisecond to close. */
const REGION = 8 * LARGE;

let lease: DeviceLease;
let server: Server;
let client: Connection;

const transfers = (): number => lease.device.group.transfers;

beforeEach(async () => {
  lease = acquireDevice({ device: testDevice });
  server = await startServer({ regionBytes: REGION });
  client = await connectTo(server);
});

afterEach(async () => {
  await client.close();
  await server.close();
  lease.release();
});

it.each([
  ['a read', () => client.read(0, LARGE)],
  ['a write', () => client.write(0, new Uint8Array(LARGE))],
  ['a request and its answer', () => client.request(new Uint8Array(LARGE))],
])('counts %s until it is done', async (_, act) => {
  const done = act();
  expect(transfers()).toBe(1);
  await done;
  await expect.poll(transfers).toBe(0);
});

it('counts nothing that is small', async () => {
  const done = Promise.all([client.read(0, 100), client.request(new Uint8Array(100))]);
  expect(transfers()).toBe(0);
  await done;
});

it('counts none any more when the connection ends in the middle of them', async () => {
  const hasty = await connectTo(server, { closeTimeoutMs: 1 });
  const work = Promise.allSettled([
    hasty.read(0, REGION),
    hasty.write(0, new Uint8Array(REGION)),
    hasty.request(new Uint8Array(REGION)),
  ]);
  expect(transfers()).toBe(3);
  await hasty.close();
  const outcomes = await work;
  expect(outcomes.map(({ status }) => status)).toContain('rejected');
  await expect.poll(transfers).toBe(0);
});

it('lets writes, reads and large requests that share the connection all end', async () => {
  const work = Array.from({ length: 40 }, () => [
    client.write(0, new Uint8Array(LARGE)),
    client.read(0, LARGE),
    client.request(new Uint8Array(LARGE)),
  ]);
  await Promise.all(work.flat());
  await expect.poll(transfers).toBe(0);
});
