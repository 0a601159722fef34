// The status page in headless Chromium, beside a server with real clients.
import { mkdirSync } from 'node:fs';
import type { LoadReading } from '../../src/admission/load-shedder.js';
import { resolve } from 'node:path';
import {
  chromium,
  type Browser,
  type BrowserContextOptions,
  type Page,
  type Request,
} from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startAdmin, type AdminServer, type Connection, type Server } from '../../src/index.js';
import { repository } from '../helpers/process.js';
import { connectTo, expectNothingLeft, pattern, startServer } from '../helpers/verbena.js';
import { startWorkers } from '../helpers/workers.js';

const screenshots = resolve(repository, 'build-browser');
const HOSTILE_NAME = '<img src=x onerror="document.title=\'broken into\'">&amp;';
/** Longer than an update of the page takes to come. */
const WITHIN = { timeout: 15_000 };

let browser: Browser;
let server: Server;
let admin: AdminServer;
let clients: Connection[];
let page: Page;
/** What the browser complained about: errors, refused content. */
let readLoad: (reading: LoadReading) => void;
let complaints: string[];

beforeAll(async () => {
  mkdirSync(screenshots, { recursive: true });
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium-headless-shell',
    // Its sandbox needs privileges that root in a container has given up.
    args: ['--no-sandbox'],
  });
});
afterAll(() => browser.close());

async function open(options: BrowserContextOptions = {}): Promise<Page> {
  const opened = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  opened.on('pageerror', (error) => complaints.push(error.message));
  opened.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  await opened.goto(admin.url);
  return opened;
}

const names = (): Promise<string[]> => page.locator('tbody .name').allTextContents();
const textOf = (selector: string): Promise<string | null> => page.textContent(selector);

beforeEach(async () => {
  complaints = [];
  const loadSource = (onReading: typeof readLoad) => {
    readLoad = onReading;
    return () => undefined;
  };
  const limits = { maxConnections: 8, queueSize: 50, cpuThresholdPercent: 90 };
  server = await startServer(limits, { loadSource });
  admin = await startAdmin(server);
  clients = [];
  for (const name of ['checkout-10', 'checkout-9', HOSTILE_NAME]) {
    clients.push(await connectTo(server, { name }));
  }
  page = await open();
  await page.locator('tbody tr').first().waitFor();
});
afterEach(async () => {
  await page.context().close();
  for (const client of clients) await client.close();
  await server.close();
  expectNothingLeft();
});

it('says that load is shed, and of what there is too much', async () => {
  expect(await textOf('#requests-note')).toBe('0 of 50 in work');
  readLoad({ cpu: 97, memory: 10, queue: 10 });
  await expect.poll(() => textOf('#state'), WITHIN).toBe('shedding load: cpu');
  expect(complaints).toEqual([]);
});

/** Keeps the first client busy until the returned function is called. */
function work(): () => Promise<void> {
  const stop = new AbortController();
  const done = (async () => {
    while (!stop.signal.aborted) {
      await clients[0]?.request(pattern(500));
      await new Promise((later) => setTimeout(later, 2));
    }
  })();
  return async () => {
    stop.abort();
    await done;
  };
}

describe('the status page', () => {
  it('shows who is connected, in natural order, and that there is room', async () => {
    await expect.poll(names, WITHIN).toEqual([HOSTILE_NAME, 'checkout-9', 'checkout-10']);
    expect(await textOf('#state')).toBe('listening');
    expect(await textOf('#clients-now')).toBe('3of 8');
    expect(await textOf('#listening')).toBe(`127.0.0.1:${server.address().port}`);
    expect(await textOf('#setups')).toContain('accepted3');
    expect(complaints).toEqual([]);
  });

  it('takes what a client calls itself for text, whatever it holds', async () => {
    await page.getByText(HOSTILE_NAME).click();
    await page.locator('.tree').first().waitFor();
    expect(await page.locator('tbody img').count()).toBe(0);
    expect(await page.title()).toBe('Verbena');
    expect(complaints).toEqual([]);
  });

  it('follows rates, comers and goers without being loaded again', async () => {
    const stop = work();
    const busy = page.locator('tbody tr', { hasText: 'checkout-10' });
    await expect.poll(() => busy.locator('td').nth(3).textContent(), WITHIN).toMatch(/^[1-9]/);
    await expect.poll(() => busy.locator('td').nth(4).textContent(), WITHIN).toMatch(/[µm]s$/);
    await expect.poll(() => textOf('#requests-now'), WITHIN).toMatch(/^[1-9]/);
    await stop();
    clients.push(await connectTo(server, { name: 'a newcomer' }));
    await expect.poll(names, WITHIN).toContain('a newcomer');
    for (const client of clients.splice(0)) await client.close();
    await expect.poll(() => page.locator('#nobody').isVisible(), WITHIN).toBe(true);
    expect(await names()).toEqual([]);
    expect(await textOf('#endings')).toBe('peer closed4');
    expect(complaints).toEqual([]);
  });

  it('shows what a client holds when asked, and keeps showing it', async () => {
    await page.getByText('checkout-9').click();
    const tree = page.locator('.tree');
    const expected = /protection domain.*completion queue.*queue pair.*memory region 146 KiB/s;
    await expect.poll(() => tree.textContent(), WITHIN).toMatch(expected);
    await page.getByText('checkout-9').click();
    expect(await tree.isVisible()).toBe(false);
  });

  it('shows workers where there are some', async () => {
    expect(await page.locator('#workers').isVisible()).toBe(false);
    const threaded = await startWorkers();
    const status = await startAdmin(threaded);
    const client = await connectTo(threaded, { name: 'in a worker' });
    await page.goto(status.url);
    const rows = page.locator('#workers tbody tr');
    await expect.poll(() => rows.allTextContents(), WITHIN).toHaveLength(2);
    expect(await rows.first().textContent()).toMatch(/^0ready1/);
    expect(await rows.last().textContent()).toMatch(/^1ready0/);
    await page.screenshot({ path: `${screenshots}/workers.png`, fullPage: true });
    expect(complaints).toEqual([]);
    await client.close();
    await threaded.close();
  });

  it('sorts by what is clicked', async () => {
    const stop = work();
    await page.getByRole('button', { name: 'Requests' }).click();
    await expect.poll(names, WITHIN).toEqual(['checkout-10', 'checkout-9', HOSTILE_NAME]);
    await page.getByRole('button', { name: 'Name' }).click();
    await page.getByRole('button', { name: 'Name' }).click();
    expect(await names()).toEqual(['checkout-10', 'checkout-9', HOSTILE_NAME]);
    await stop();
  });

  it('draws a chart of each kind', async () => {
    await expect.poll(() => page.locator('#charts canvas').count(), WITHIN).toBe(4);
    const hasInk = `(() => {
      const { width, height } = document.querySelector('#charts canvas');
      const context = document.querySelector('#charts canvas').getContext('2d');
      return context.getImageData(0, 0, width, height).data.some((value) => value !== 0);
    })()`;
    await expect.poll(() => page.evaluate(hasInk), WITHIN).toBe(true);
    expect(complaints).toEqual([]);
  });

  it('says so while the server drains', async () => {
    const drained = server.drain(30_000);
    await expect.poll(() => textOf('#state'), WITHIN).toBe('draining');
    for (const client of clients.splice(0)) await client.close();
    await drained;
  });

  it('says when nobody answers, and goes on by itself when the port is back', async () => {
    const { port } = admin.address();
    await admin.close();
    await expect.poll(() => textOf('#state'), WITHIN).toBe('no answer');
    admin = await startAdmin(server, { port });
    await expect.poll(() => textOf('#state'), WITHIN).toBe('listening');
  });

  it('asks for nothing while it is hidden', async () => {
    const become = (state: string): Promise<unknown> =>
      page.evaluate(`
        { const property = { value: '${state}', configurable: true };
        Object.defineProperty(document, 'visibilityState', property); }
        document.dispatchEvent(new Event('visibilitychange'));
      `);
    const isEvents = (request: Request): boolean => request.url().endsWith('/events');
    const ended = page.waitForEvent('requestfailed', { predicate: isEvents });
    await become('hidden');
    await ended;
    const asked: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    const begun = page.waitForRequest('**/events');
    // More than an update's time of the server, in which the page must not stir.
    const other = await open();
    await other.locator('tbody tr').first().waitFor();
    await other.context().close();
    expect(asked).toEqual([]);
    await become('visible');
    await begun;
  });
});

describe('the look', () => {
  const background = (): Promise<unknown> =>
    page.evaluate('getComputedStyle(document.body).backgroundColor');
  const looks: readonly [string, BrowserContextOptions][] = [
    ['light', { colorScheme: 'light' }],
    ['dark', { colorScheme: 'dark' }],
    ['phone', { colorScheme: 'dark', viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 }],
  ];

  it.each(looks)('of %s fits its width and cuts no number off', async (name, options) => {
    const stop = work();
    await page.context().close();
    page = await open(options);
    await page.getByText('checkout-9').click();
    await page.locator('.tree').first().waitFor();
    const overflow = await page.evaluate(`({
      page: document.documentElement.scrollWidth - innerWidth,
      cut: [...document.querySelectorAll('td.number, .figure')]
        .filter((each) => each.scrollWidth > each.clientWidth)
        .map((each) => each.textContent),
    })`);
    expect(overflow).toEqual({ page: 0, cut: [] });
    await page.screenshot({ path: resolve(screenshots, `status-${name}.png`), fullPage: true });
    expect(complaints).toEqual([]);
    await stop();
  });

  it('follows the colour scheme that the reader prefers, charts and all', async () => {
    await page.emulateMedia({ colorScheme: 'light' });
    const light = await background();
    await page.emulateMedia({ colorScheme: 'dark' });
    expect(await background()).not.toBe(light);
    expect(await page.locator('#charts canvas').count()).toBe(4);
  });
});
