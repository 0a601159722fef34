// The admin port as monitoring and people meet it: real HTTP, beside a server with real sessions.
import { request, type IncomingHttpHeaders } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startAdmin, type AdminServer, type Connection, type Server } from '../../src/index.js';
import { parseMetrics } from '../helpers/metrics.js';
import {
  codeOfRejection,
  connectTo,
  expectNothingLeft,
  pattern,
  startServer,
} from '../helpers/verbena.js';

let server: Server;
let admin: AdminServer;
let finish: () => void;

beforeEach(async () => {
  const held = new Promise<void>((resolve) => (finish = resolve));
  server = await startServer({
    handler: async ({ payload, method }) => {
      if (method === 1) await held;
      return payload;
    },
  });
  admin = await startAdmin(server);
});
afterEach(async () => {
  finish();
  await server.close();
});
afterAll(expectNothingLeft);

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Question {
  readonly method?: string;
  readonly headers?: Record<string, string>;
}

function ask(path: string, { method = 'GET', headers = {} }: Question = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(new URL(path, admin.url), { method, headers, agent: false }, (answer) => {
      let body = '';
      answer.setEncoding('utf8').on('data', (text: string) => (body += text));
      answer.on('end', () => {
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body });
      });
    });
    sent.on('error', reject).end();
  });
}

const paths = ['/', '/metrics', '/healthz', '/readyz', '/status.json'];

/** A status page that is open: the events it got so far. */
class Page {
  readonly events: { readonly name: string; readonly data: unknown }[] = [];
  hasEnded = false;
  readonly #controller = new AbortController();

  static async open(): Promise<Page> {
    const page = new Page();
    const { signal } = page.#controller;
    const answer = await fetch(new URL('/events', admin.url), { signal });
    if (answer.status !== 200 || answer.body === null) throw new Error(String(answer.status));
    const end = (): void => {
      page.hasEnded = true;
    };
    void page.#read(answer.body).then(end, end);
    return page;
  }

  close(): void {
    this.#controller.abort();
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    let text = '';
    const decoder = new TextDecoder();
    const reader = body.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const events = text.split('\n\n');
      text = events.pop() ?? '';
      for (const event of events) {
        const name = /^event: (.*)$/m.exec(event)?.[1] ?? '';
        const data = JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? 'null') as unknown;
        this.events.push({ name, data });
      }
    }
  }
}

describe('the admin port', () => {
  it('is on loopback unless told otherwise', () => {
    expect(admin.address().address).toBe('127.0.0.1');
    expect(admin.url).toBe(`http://127.0.0.1:${admin.address().port}/`);
  });

  it.each(paths)('answers GET and HEAD of %s and refuses to change anything', async (path) => {
    const got = await ask(path);
    expect(got.status).toBe(200);
    expect(got.body).not.toBe('');
    const head = await ask(path, { method: 'HEAD' });
    expect(head).toMatchObject({ status: 200, body: '' });
    expect(head.headers['content-type']).toBe(got.headers['content-type']);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const refused = await ask(path, { method });
      expect(refused.status).toBe(405);
      expect(refused.headers.allow).toBe('GET, HEAD');
    }
  });

  it('knows no other page, and says which there are', async () => {
    for (const path of ['/nothing', '/metrics/', '/../package.json', '/page']) {
      const answer = await ask(path);
      expect(answer.status).toBe(404);
      expect(answer.body).toContain('/status.json');
    }
  });

  it('lets no page of another origin run, frame, or be read under another name', async () => {
    for (const path of [...paths, '/nothing', '/page.mjs', '/uplot.js']) {
      const { headers } = await ask(path);
      expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self';/);
      expect(headers['x-content-type-options']).toBe('nosniff');
      expect(headers['access-control-allow-origin']).toBeUndefined();
    }
    for (const host of ['evil.example', 'evil.example:9464', 'localhost.evil.example']) {
      expect((await ask('/status.json', { headers: { host } })).status).toBe(403);
    }
    for (const host of ['localhost', 'localhost:9464', '127.0.0.1', '[::1]:9464']) {
      expect((await ask('/status.json', { headers: { host } })).status).toBe(200);
    }
  });

  it('takes no more than a few kilobytes of headers', async () => {
    const answer = await ask('/', { headers: { 'x-long': 'x'.repeat(10_000) } });
    expect(answer.status).toBe(431);
  });

  it('names the fix when its port is taken, and leaves the server alone', async () => {
    const other = createTcpServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    const second = startAdmin(server, { port });
    await expect(second).rejects.toThrow(/another server uses it.*--admin-port/);
    expect(await codeOfRejection(second)).toBe('ERR_VERBENA_LISTEN');
    await new Promise((resolve) => other.close(resolve));
    const client = await connectTo(server);
    await client.request(pattern(10));
    await client.close();
  });

  it('is closed with the server, open pages too, and cannot be opened after', async () => {
    const page = await Page.open();
    const { url } = admin;
    await server.close();
    await expect(fetch(new URL('/healthz', url))).rejects.toThrow();
    expect(await codeOfRejection(startAdmin(server))).toBe('ERR_VERBENA_CLOSED');
    await expect.poll(() => page.hasEnded).toBe(true);
  });

  it('refuses options that make no sense', async () => {
    expect(await codeOfRejection(startAdmin(server, { port: 70_000 }))).toBe(
      'ERR_VERBENA_INVALID_OPTION',
    );
  });
});

describe('/healthz and /readyz', () => {
  it('part while the server drains: alive, and not ready', async () => {
    expect(await ask('/readyz')).toMatchObject({ status: 200, body: 'ready\n' });
    const client = await connectTo(server);
    const held = client.request(pattern(10), { method: 1 });
    const drained = server.drain(60_000);
    expect(await ask('/readyz')).toMatchObject({ status: 503, body: 'not ready: draining\n' });
    expect(await ask('/healthz')).toMatchObject({ status: 200, body: 'ok\n' });
    finish();
    await held;
    await client.close();
    await drained;
    expect((await ask('/readyz')).status).toBe(503);
  });
});

describe('/metrics', () => {
  it('is text that Prometheus reads, of the moment that it is asked', async () => {
    const { headers, body } = await ask('/metrics');
    expect(headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(parseMetrics(body)['verbena_connections_active']).toBe(0);
    const client = await connectTo(server);
    expect(parseMetrics((await ask('/metrics')).body)['verbena_connections_active']).toBe(1);
    await client.close();
  });
});

describe('/status.json', () => {
  it('has each session with its state, its objects and what it did', async () => {
    const client = await connectTo(server, { name: 'one "quoted" <b>client</b>' });
    for (let each = 0; each < 5; each++) await client.request(pattern(10));
    const { headers, body } = await ask('/status.json');
    expect(headers['content-type']).toBe('application/json');
    const status = JSON.parse(body) as Record<string, unknown>;
    expect(status).toMatchObject({
      schema: 1,
      state: 'listening',
      listening: { address: '127.0.0.1', port: server.address().port },
      device: { name: server.deviceName },
      capacity: { clients: server.capacity.clients, limitedBy: server.capacity.limitedBy },
      counts: { connections: 1, accepted: 1, traffic: { responses: 5 } },
      sessions: [
        {
          name: 'one "quoted" <b>client</b>',
          state: 'open',
          qpn: server.sessions()[0]?.qpn,
          requestsInWork: 0,
          requestsAnswered: 5,
        },
      ],
    });
    const [session] = status['sessions'] as { owner: string }[];
    const tree = status['resources'] as { owner: string; objects: { kind: string }[] }[];
    const owned = tree.find(({ owner }) => owner === session?.owner);
    expect(owned?.objects.map(({ kind }) => kind)).toEqual(['pd']);
    await client.close();
  });

  it('gives no packet sequence number and no key away', async () => {
    const client = await connectTo(server);
    const { body } = await ask('/status.json');
    expect(body).not.toMatch(/psn|rkey/i);
    await client.close();
  });
});

describe('the events of the status page', () => {
  const clientsOf = (page: Page): { name: string; requestsPerSecond: number }[] => {
    const last = page.events.findLast(({ name }) => name === 'update');
    return (last?.data as { clients: { name: string; requestsPerSecond: number }[] }).clients;
  };

  it('begin with the last minutes and go on with who is there and what they do', async () => {
    const page = await Page.open();
    const client: Connection = await connectTo(server, { name: 'busy' });
    const stop = new AbortController();
    const work = (async () => {
      while (!stop.signal.aborted) await client.request(pattern(10));
    })();
    await expect
      .poll(() => page.events.some(({ name }) => name === 'update') && clientsOf(page)[0], {
        timeout: 10_000,
      })
      .toMatchObject({ name: 'busy', state: 'open' });
    await expect
      .poll(() => clientsOf(page)[0]?.requestsPerSecond, { timeout: 10_000 })
      .toBeGreaterThan(0);
    stop.abort();
    await work;
    expect(page.events[0]?.name).toBe('history');
    page.close();
    const later = await Page.open();
    await expect.poll(() => later.events[0]?.data).toHaveProperty('length');
    expect((later.events[0]?.data as unknown[]).length).toBeGreaterThan(0);
    later.close();
    await client.close();
  });

  it('go to a bounded number of pages; one that closes makes room', async () => {
    const pages: Page[] = [];
    for (let each = 0; each < 16; each++) pages.push(await Page.open());
    const refused = await ask('/events');
    expect(refused.status).toBe(503);
    expect(refused.headers['retry-after']).toBe('60');
    pages[0]?.close();
    await expect
      .poll(
        () =>
          Page.open().then(
            (page) => pages.push(page),
            () => 0,
          ),
        { timeout: 5000 },
      )
      .toBe(17);
    for (const page of pages) page.close();
  });
});
