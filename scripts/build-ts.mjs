// Compiles src/ to dist/ afresh, so that a deleted source leaves nothing behind; unless dist/ was
// made of these very sources.
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main, must, root, tool } from './lib/run.mjs';

const dist = join(root, 'dist');
/** Says what dist/ was made of; written last. */
const stamp = join(dist, '.sources');

/** Of everything that decides what the compiler writes. */
function digestOfSources() {
  const sources = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const compiler = join(root, 'node_modules', 'typescript', 'package.json');
  const hash = createHash('sha256');
  for (const path of [compiler, join(root, 'tsconfig.json'), ...sources.sort()]) {
    hash.update(`${path}\0`).update(readFileSync(path)).update('\0');
  }
  return hash.digest('hex');
}

export async function buildTypeScript() {
  const digest = digestOfSources();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return;
  rmSync(dist, { recursive: true, force: true });
  await must(tool('tsc'), ['-p', 'tsconfig.json']);
  // What pages are made of goes as it is.
  for (const folder of [join('admin', 'page'), join('bench', 'report')]) {
    cpSync(join(root, 'src', folder), join(dist, folder), { recursive: true });
  }
  chmodSync(join(dist, 'cli', 'main.js'), 0o755);
  writeFileSync(stamp, digest);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(buildTypeScript);
