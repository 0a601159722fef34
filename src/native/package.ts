// Where the package lies, and which version it is.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// The same file runs from src/ (tests) and dist/: both lie one level below the package's root.
export const packageRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export function packageVersion(): string {
  const path = join(packageRoot, 'package.json');
  const { version } = JSON.parse(readFileSync(path, 'utf8')) as { version: string };
  return version;
}
