// Finds and loads the native addon once per process, and knows where the soft device's library
// lies.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { VerbenaError, messageOf } from '../errors.js';
import type { NativeAddon } from './addon.js';
import { packageRoot } from './package.js';

const SOFT_LIBRARY = 'libverbena-soft.so';

/** The name of the verbs library for hardware and soft-RoCE, resolved by the dynamic linker. */
export const HARDWARE_LIBRARY = 'libibverbs.so.1';

let addon: NativeAddon | undefined;

/** Folders that may hold the native products, in order of preference. */
function nativeFolders(): string[] {
  return [
    join(packageRoot, 'build', 'Release'),
    join(packageRoot, 'prebuilds', `${process.platform}-${process.arch}`),
  ];
}

const found = new Map<string, string>();

function findNative(file: string): string {
  const known = found.get(file);
  if (known !== undefined) return known;
  const folders = nativeFolders();
  const folder = folders.find((candidate) => existsSync(join(candidate, file)));
  if (folder === undefined) {
    throw new VerbenaError(
      'ERR_VERBENA_ADDON',
      `${file} is not in ${folders.join(' nor in ')}: the native part is not built. ` +
        `Run: npm run build:native (in ${packageRoot})`,
    );
  }
  const path = join(folder, file);
  found.set(file, path);
  return path;
}

/** Loads the addon; the first call installs the exit handler that releases what is left. */
export function loadAddon(): NativeAddon {
  if (addon !== undefined) return addon;
  const path = findNative('verbena.node');
  let loaded: NativeAddon;
  try {
    loaded = createRequire(import.meta.url)(path) as NativeAddon;
  } catch (cause) {
    throw new VerbenaError(
      'ERR_VERBENA_ADDON',
      `${path} does not load (${messageOf(cause)}); it was probably built for another Node or ` +
        'system. Run: npm run build:native',
      { cause },
    );
  }
  // Clean-up hooks do not run on process.exit(); this event fires there and after uncaught
  // exceptions.
  process.once('exit', () => loaded.closeAll());
  addon = loaded;
  return loaded;
}

/** Absolute path of the soft device's library, which `LD_PRELOAD` also takes. */
export function softLibraryPath(): string {
  return findNative(SOFT_LIBRARY);
}
