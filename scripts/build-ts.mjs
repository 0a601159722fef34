// Compiles src/ to dist/ afresh, so that a deleted source leaves nothing behind.
import { chmodSync, cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main, must, root, tool } from './lib/run.mjs';

export async function buildTypeScript() {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  await must(tool('tsc'), ['-p', 'tsconfig.json']);
  // What the status page is made of goes as it is.
  cpSync(join(root, 'src', 'admin', 'page'), join(root, 'dist', 'admin', 'page'), {
    recursive: true,
  });
  const program = join(root, 'dist', 'cli', 'main.js');
  if (existsSync(program)) chmodSync(program, 0o755);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(buildTypeScript);
