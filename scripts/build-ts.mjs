// Compiles src/ to dist/ afresh, so that a deleted source leaves nothing behind.
import { chmodSync, cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main, must, root, tool } from './lib/run.mjs';

export async function buildTypeScript() {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  await must(tool('tsc'), ['-p', 'tsconfig.json']);
  // What pages are made of goes as it is.
  for (const folder of [join('admin', 'page'), join('bench', 'report')]) {
    cpSync(join(root, 'src', folder), join(root, 'dist', folder), { recursive: true });
  }
  const program = join(root, 'dist', 'cli', 'main.js');
  if (existsSync(program)) chmodSync(program, 0o755);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(buildTypeScript);
