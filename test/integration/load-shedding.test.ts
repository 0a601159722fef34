// A server with too much load, whichever: what it refuses, whom it goes on serving, what it says.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LoadReading } from '../../src/admission/load-shedder.js';
import {
  startAdmin,
  type AdminServer,
  type Connection,
  type LoadChange,
  type Server,
} from '../../src/index.js';
import {
  codeOfRejection,
  connectTo,
  expectNoSessionObjects,
  expectNothingLeft,
  startServer,
} from '../helpers/verbena.js';

const calm: LoadReading = { cpu: 10, memory: 10, queue: 10 };
const WAIT = 1;

let server: Server;
let admin: AdminServer;
let client: Connection;
let changes: LoadChange[];
let finish: () => void;
let read: (reading: LoadReading) => void;
let isWatching: boolean;

function watchLoad(onReading: typeof read): () => void {
  read = onReading;
  isWatching = true;
  return () => (isWatching = false);
}

/** As many readings as it takes to begin, or to end. */
function readOften(reading: LoadReading): void {
  for (let times = 0; times < 4; times++) read(reading);
}

beforeEach(async () => {
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const thresholds = { cpuThresholdPercent: 90, memoryThresholdPercent: 80 };
  server = await startServer(
    {
      ...thresholds,
      queueThresholdPercent: 80,
      handler: ({ method, payload }) => (method === WAIT ? finished.then(() => payload) : payload),
    },
    { loadSource: watchLoad },
  );
  changes = [];
  server.on('load', (change) => changes.push(change));
  admin = await startAdmin(server);
  client = await connectTo(server);
});

afterEach(async () => {
  finish();
  await client.close();
  await expectNoSessionObjects(server);
  await server.close();
  expect(isWatching).toBe(false);
  expectNothingLeft();
});

async function readyz(): Promise<{ status: number; text: string }> {
  const response = await fetch(new URL('/readyz', admin.url));
  return { status: response.status, text: await response.text() };
}

async function metric(name: string): Promise<string | undefined> {
  const text = await (await fetch(new URL('/metrics', admin.url))).text();
  return text
    .split('\n')
    .find((line) => line.startsWith(`${name} `))
    ?.slice(name.length + 1);
}

describe.each(['cpu', 'memory', 'queue'] as const)('too much %s', (resource) => {
  it('keeps newcomers out with a code and a time, until it has been over for a while', async () => {
    readOften({ ...calm, [resource]: 95 });
    await expect(connectTo(server)).rejects.toMatchObject({
      code: 'ERR_VERBENA_RESOURCE_EXHAUSTED',
      message: expect.stringContaining(`${resource} at 95 %`) as string,
      retryAfterMs: expect.any(Number) as number,
    });
    expect(await client.request(new Uint8Array(7))).toHaveLength(7);
    expect(server.stats().noRoom.shedding).toBe(1);
    readOften(calm);
    await (await connectTo(server)).close();
    expect(changes).toEqual([
      { resource, isOn: true, percent: 95 },
      { resource, isOn: false, percent: 10 },
    ]);
  });

  it('is told by the admin port', async () => {
    expect(await readyz()).toEqual({ status: 200, text: 'ready\n' });
    readOften({ ...calm, [resource]: 95 });
    expect(await readyz()).toEqual({
      status: 503,
      text: `not ready: shedding load (${resource})\n`,
    });
    expect((await fetch(new URL('/healthz', admin.url))).status).toBe(200);
    expect(await metric('verbena_load_shedding_active')).toBe('1');
    expect(await metric(`verbena_load_shedding_reason{resource="${resource}"}`)).toBe('1');
    expect(await metric(`verbena_load_ratio{resource="${resource}"}`)).toBe('0.95');
    readOften(calm);
    expect((await readyz()).status).toBe(200);
    expect(await metric('verbena_load_shedding_active')).toBe('0');
    expect(await metric(`verbena_load_shedding_begun_total{resource="${resource}"}`)).toBe('1');
  });
});

describe('while load is shed', () => {
  it('the client with most in flight is refused more, and the others are not', async () => {
    const others = [await connectTo(server), await connectTo(server)];
    const wait = (connection: Connection): Promise<unknown> =>
      connection.request(new Uint8Array(1), { method: WAIT }).catch((error: unknown) => error);
    const held = Array.from({ length: 20 }, () => wait(client));
    held.push(...others.map(wait));
    await expect.poll(() => server.stats().requestQueue.pending).toBe(22);
    readOften({ ...calm, cpu: 95 });
    expect(await codeOfRejection(client.request(new Uint8Array(1)))).toBe(
      'ERR_VERBENA_RESOURCE_EXHAUSTED',
    );
    for (const other of others) expect(await other.request(new Uint8Array(3))).toHaveLength(3);
    expect(server.stats().requestQueue.refused).toMatchObject({ shedding: 1, queueFull: 0 });
    finish();
    await Promise.all(held);
    expect(await client.request(new Uint8Array(4))).toHaveLength(4);
    await Promise.all(others.map((other) => other.close()));
  });
});

describe('a server that cannot start', () => {
  it('is not watched', async () => {
    let watching = 0;
    const loadSource = (): (() => void) => {
      watching++;
      return () => watching--;
    };
    const started = startServer({ cert: 'no certificate' }, { loadSource });
    expect(await codeOfRejection(started)).toBe('ERR_VERBENA_TLS');
    expect(watching).toBe(0);
  });
});
