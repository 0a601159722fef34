// The files of the status page, read once: ours, and the chart library from its package.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

export interface Asset {
  readonly type: string;
  readonly body: Buffer;
}

const require = createRequire(import.meta.url);
const own = (name: string): URL => new URL(`./page/${name}`, import.meta.url);

const files: readonly (readonly [path: string, type: string, file: string | URL])[] = [
  ['/', 'text/html; charset=utf-8', own('index.html')],
  ['/page.css', 'text/css; charset=utf-8', own('page.css')],
  ['/page.mjs', 'text/javascript; charset=utf-8', own('page.mjs')],
  ['/charts.mjs', 'text/javascript; charset=utf-8', own('charts.mjs')],
  ['/clients.mjs', 'text/javascript; charset=utf-8', own('clients.mjs')],
  ['/format.mjs', 'text/javascript; charset=utf-8', own('format.mjs')],
  ['/workers.mjs', 'text/javascript; charset=utf-8', own('workers.mjs')],
  ['/icon.svg', 'image/svg+xml', own('icon.svg')],
  ['/uplot.js', 'text/javascript; charset=utf-8', require.resolve('uplot/dist/uPlot.iife.min.js')],
  ['/uplot.css', 'text/css; charset=utf-8', require.resolve('uplot/dist/uPlot.min.css')],
];

/** By the path that they are served under. */
export async function readAssets(): Promise<ReadonlyMap<string, Asset>> {
  const assets = await Promise.all(
    files.map(async ([path, type, file]) => [path, { type, body: await readFile(file) }] as const),
  );
  return new Map(assets);
}
