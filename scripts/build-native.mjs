// Builds the addon and the soft device with node-gyp, or with `--cmake` the addon through cmake-js.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { headerEnvironment, main, must, root, tool } from './lib/run.mjs';

/** An incremental build: configures only when there is no build folder or the options changed. */
export async function buildNative() {
  const env = headerEnvironment();
  const nodeGyp = tool('node-gyp');
  // Configuring takes a third of a second and picks up new source files.
  await must(nodeGyp, ['configure', '--silent'], { env });
  await must(nodeGyp, ['build', '--silent', '-j', '2'], { env });
}

async function buildWithCmake() {
  const command = existsSync(join(root, 'build-cmake-js')) ? 'build' : 'compile';
  const args = [command, '--out', 'build-cmake-js', '--target', 'verbena'];
  await must(tool('cmake-js'), args, { env: headerEnvironment() });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main((args) => (args.includes('--cmake') ? buildWithCmake() : buildNative()));
}
