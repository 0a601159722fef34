// The one list of native sources, for both builds: `addon` or `soft`, by file or by layer.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const folders = {
  addon: ['native/addon', 'native/verbs', 'native/util'],
  soft: ['native/soft', 'native/util'],
};

/** Paths of the sources of one build product, relative to the repository, sorted. */
export function nativeSources(product) {
  const wanted = folders[product];
  if (wanted === undefined) throw new Error(`unknown product ${product}: use addon or soft`);
  return wanted
    .map((folder) => join(root, folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder, { recursive: true }).map((name) => join(folder, name)))
    .filter((path) => path.endsWith('.cc'))
    .map((path) => relative(root, path))
    .sort();
}

/** Writes a file unless it has that content already: its time decides what is built again. */
function writeIfChanged(path, content) {
  if (!existsSync(path) || readFileSync(path, 'utf8') !== content) writeFileSync(path, content);
}

/**
 * Writes one source for each layer, which includes the layer's sources, and returns their paths.
 * Headers, which take most of the time, are then read once per layer.
 */
export function layerSources(product) {
  const folder = 'build-layers';
  mkdirSync(join(root, folder), { recursive: true });
  const layers = new Map();
  for (const source of nativeSources(product)) {
    layers.set(dirname(source), [...(layers.get(dirname(source)) ?? []), source]);
  }
  return [...layers].map(([layer, sources]) => {
    const path = join(folder, `${layer.replaceAll('/', '-')}.cc`);
    const includes = sources.map((source) => `#include "../${source}"\n`);
    writeIfChanged(join(root, path), includes.join(''));
    return path;
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [product, how] = process.argv.slice(2);
  const list = how === '--by-layer' ? layerSources(product) : nativeSources(product);
  console.log(list.join('\n'));
}
