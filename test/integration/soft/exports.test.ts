// The symbols of the soft device against those of libibverbs, name by name and version by version.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const softDevice = resolve(import.meta.dirname, '../../../build/Release/libverbena-soft.so');

/** Where the linker finds a library, as `ldconfig -p` tells. */
function libraryPath(name: string): string {
  const cache = execFileSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' });
  const line = cache.split('\n').find((each) => each.trim().startsWith(`${name} `));
  const path = line?.split('=> ')[1];
  if (path === undefined || !existsSync(path)) throw new Error(`${name} is not installed`);
  return path;
}

/** Default versions of the defined symbols, as `name@@VERSION`. */
function exportsOf(path: string): string[] {
  const table = execFileSync('nm', ['-D', '--defined-only', path], { encoding: 'utf8' });
  return [...table.matchAll(/ [A-Z] (\S+@@\S+)$/gm)].map(([, symbol]) => symbol ?? '').sort();
}

const isPrivate = (symbol: string): boolean => symbol.includes('@@IBVERBS_PRIVATE_');

describe('libverbena-soft.so', () => {
  const ours = exportsOf(softDevice);
  const theirs = exportsOf(libraryPath('libibverbs.so.1'));

  it('exports every public symbol of libibverbs with the same version', () => {
    const wanted = theirs.filter((symbol) => !isPrivate(symbol));
    expect(wanted.length).toBeGreaterThan(70);
    expect(wanted.filter((symbol) => !ours.includes(symbol))).toEqual([]);
  });

  it('exports nothing else, save one private symbol that tools need and what is its own', () => {
    const more = ours.filter((symbol) => !theirs.includes(symbol) || isPrivate(symbol));
    expect(more).toEqual([
      'ibv_query_gid_type@@IBVERBS_PRIVATE_34',
      'verbena_soft_counters@@VERBENA_SOFT_1',
      'verbena_soft_hold@@VERBENA_SOFT_1',
      'verbena_soft_last_error@@VERBENA_SOFT_1',
      'verbena_soft_level_triggered@@VERBENA_SOFT_1',
      'verbena_soft_release@@VERBENA_SOFT_1',
    ]);
  });

  it('never offers what belongs to providers', () => {
    expect(ours.filter((symbol) => /^(verbs_|ibv_cmd_|ibv_register_driver)/.test(symbol))).toEqual(
      [],
    );
  });

  it('needs nothing of libibverbs itself', () => {
    const undefinedSymbols = execFileSync('nm', ['-D', '--undefined-only', softDevice], {
      encoding: 'utf8',
    });
    expect(undefinedSymbols.match(/\b(ibv|verbs)_\S+/g) ?? []).toEqual([]);
  });
});
