// The one list of native sources: prints the .cc files of `addon` or `soft` for both builds.
import { existsSync, readdirSync } from 'node:fs';
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(nativeSources(process.argv[2]).join('\n'));
}
