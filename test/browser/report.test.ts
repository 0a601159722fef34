// The report of `verbena bench` in headless Chromium: in light and dark, a run and a series.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reportPage, type Report } from '../../src/bench/report.js';
import { benchPhases, benchResult } from '../helpers/bench-result.js';
import { repository } from '../helpers/process.js';

const folder = resolve(repository, 'build-browser');
let browser: Browser;
beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium-headless-shell',
    // Its sandbox needs privileges that root in a container has given up.
    args: ['--no-sandbox'],
  });
});
afterAll(() => browser.close());

const one: Report = {
  points: [benchResult({ problem: '<b>stopped</b>', complete: false })],
  labels: [],
  axis: '',
  command: 'verbena bench host --duration 5',
};
const labels = ['64 B', '128 B', '256 B'];
const phases: Report = { ...one, points: [benchResult({ phasesUs: benchPhases() })] };
const series = { ...one, points: labels.map(() => benchResult()), labels, axis: 'bytes' };

async function look(report: Report, name: string, colorScheme: 'light' | 'dark') {
  const path = join(folder, `${name}.html`);
  writeFileSync(path, await reportPage(report));
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme });
  const complaints: string[] = [];
  page.on('pageerror', ({ message }) => complaints.push(message));
  page.on('console', (message) => complaints.push(message.text()));
  await page.goto(pathToFileURL(path).href);
  const plots = page.locator('.u-over');
  await expect.poll(() => plots.count()).toBe(3);
  await page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`), fullPage: true });
  return { page, plots, complaints };
}

describe('the report', () => {
  it.each(['light', 'dark'] as const)('shows a run in %s', async (scheme) => {
    const { page, plots, complaints } = await look(one, 'report', scheme);
    expect(await page.locator('.warnings').textContent()).toContain('<b>stopped</b>');
    expect(await page.locator('tbody tr').count()).toBe(5);
    expect(await page.locator('.track').count()).toBe(4);
    const curve = page.locator('#charts .card').last().locator('.legend');
    await plots.last().hover();
    await expect.poll(() => curve.textContent()).toMatch(/9\d.* % · latency [\d.]+ ms/);
    const ground = await page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
    expect(ground).toBe(scheme === 'light' ? 'rgb(246, 245, 249)' : 'rgb(19, 17, 24)');
    expect(complaints).toEqual([]);
    await page.close();
  });

  it.each(['light', 'dark'] as const)('shows where the time went in %s', async (scheme) => {
    const { page, complaints } = await look(phases, 'report-phases', scheme);
    const parts = page.locator('.phases i');
    const widths: number[] = [];
    for (const part of await parts.all()) widths.push((await part.boundingBox())?.width ?? 0);
    expect(widths).toHaveLength(5);
    const shares = widths.map((width) => width / widths.reduce((sum, each) => sum + each, 0));
    const { wire, serverQueue, whole } = benchPhases();
    expect(shares[1]).toBeCloseTo(wire.mean / whole.mean, 2);
    expect(shares[2]).toBeCloseTo(serverQueue.mean / whole.mean, 2);
    const colors = await page.evaluate<string[]>(
      "[...document.querySelectorAll('.phases i')].map((i) => getComputedStyle(i).backgroundColor)",
    );
    expect(new Set(colors).size).toBe(5);
    expect(complaints).toEqual([]);
    await page.close();
  });

  it('shows a series by its steps, and fits a phone', async () => {
    const { page, complaints } = await look(series, 'report-series', 'light');
    expect(await page.locator('td:first-child').allTextContents()).toEqual(labels);
    expect(await page.locator('#charts h2').first().textContent()).toBe('Throughput by bytes');
    await page.setViewportSize({ width: 390, height: 800 });
    const width = (): Promise<number> => page.evaluate('document.documentElement.scrollWidth');
    await expect.poll(width).toBeLessThanOrEqual(390);
    expect(complaints).toEqual([]);
    await page.close();
  });
});
