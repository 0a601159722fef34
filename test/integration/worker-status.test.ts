// Workers as monitoring sees them: metrics, the status document and the events of the status page.
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startAdmin, type AdminServer, type Connection, type Server } from '../../src/index.js';
import type { LiveUpdate } from '../../src/admin/live.js';
import type { StatusDocument } from '../../src/admin/status.js';
import { parseMetrics } from '../helpers/metrics.js';
import { connectTo, pattern } from '../helpers/verbena.js';
import { expectNothingLeftAnywhere, reported, startWorkers } from '../helpers/workers.js';

let server: Server;
let admin: AdminServer;
let clients: Connection[];

beforeEach(async () => {
  server = await startWorkers();
  admin = await startAdmin(server);
  clients = [];
  for (const name of ['a', 'b', 'c']) clients.push(await connectTo(server, { name }));
  for (const client of clients) await client.request(pattern(10));
});
afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await server.close();
});
afterAll(expectNothingLeftAnywhere);

const read = async (path: string): Promise<string> =>
  (await fetch(new URL(path, admin.url))).text();

/** Sessions that the last reports had objects of. */
function objectsOfSessions(): number {
  const { tree, sessions } = server.snapshot();
  return sessions.filter(({ owner }) => tree.some((node) => node.owner === owner)).length;
}

/** The first update of a status page. */
async function firstUpdate(): Promise<LiveUpdate> {
  const controller = new AbortController();
  const answer = await fetch(new URL('/events', admin.url), { signal: controller.signal });
  const decoder = new TextDecoder();
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  let text = '';
  for (;;) {
    text += decoder.decode((await reader.read()).value, { stream: true });
    const [, data] = /event: update\ndata: (.*)\n\n/.exec(text) ?? [];
    if (data === undefined) continue;
    controller.abort();
    return JSON.parse(data) as LiveUpdate;
  }
}

describe('a server with workers', () => {
  it('has metrics of each worker, and sums over all of them', async () => {
    await reported(server, () => server.stats().traffic.responses).toBe(3);
    const metrics = parseMetrics(await read('/metrics'));
    const valueOf = (name: string): number | undefined => metrics[name];
    expect(valueOf('verbena_worker_sessions{worker="0"}')).toBe(2);
    expect(valueOf('verbena_worker_sessions{worker="1"}')).toBe(1);
    expect(valueOf('verbena_worker_received_total{worker="0"}')).toBe(2);
    expect(valueOf('verbena_worker_sent_total{worker="1"}')).toBe(1);
    expect(valueOf('verbena_worker_up{worker="1"}')).toBe(1);
    expect(valueOf('verbena_worker_busy_seconds_total{worker="0"}')).toBeGreaterThan(0);
    expect(valueOf('verbena_requests_total{result="ok"}')).toBe(3);
    // Both ends of each client are in this process.
    expect(valueOf('verbena_resources{kind="qp"}')).toBe(6);
  });

  it('shows its workers, and the objects of their sessions, in the status document', async () => {
    await reported(server, () => objectsOfSessions()).toBe(3);
    const status = JSON.parse(await read('/status.json')) as StatusDocument;
    expect(status.workers).toMatchObject([
      { index: 0, state: 'ready', sessions: 2, received: 2 },
      { index: 1, state: 'ready', sessions: 1, received: 1 },
    ]);
    expect(status.sessions.map(({ name, worker }) => [name, worker])).toEqual([
      ['a', 0],
      ['b', 1],
      ['c', 0],
    ]);
    const owners = status.resources.map(({ owner }) => owner);
    for (const session of status.sessions) expect(owners).toContain(session.owner);
  });

  it('shows them on the status page', async () => {
    await reported(server, () => objectsOfSessions()).toBe(3);
    const update = await firstUpdate();
    expect(update.workers).toMatchObject([{ sessions: 2 }, { sessions: 1 }]);
    const shown = update.clients.map(({ name, worker, resources }) => {
      return [name, worker, resources.objects[0]?.kind];
    });
    expect(shown.sort()).toEqual([
      ['a', 0, 'pd'],
      ['b', 1, 'pd'],
      ['c', 0, 'pd'],
    ]);
  });
});
