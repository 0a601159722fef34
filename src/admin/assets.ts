// The files of the status page, read once: ours, and the chart library from its package.
import { readFile } from 'node:fs/promises';

export interface Asset {
  readonly type: string;
  readonly body: Buffer;
}

const own = (name: string): URL => new URL(`./page/${name}`, import.meta.url);

const files: readonly (readonly [path: string, type: string, file: string | URL])[] = [
  ['/', 'text/html; charset=utf-8', own('index.html')],
];

/** By the path that they are served under. */
export async function readAssets(): Promise<ReadonlyMap<string, Asset>> {
  const assets = await Promise.all(
    files.map(async ([path, type, file]) => [path, { type, body: await readFile(file) }] as const),
  );
  return new Map(assets);
}
