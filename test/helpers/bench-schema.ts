// What docs/load-generator.md says of the document that `verbena bench --json` prints.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { repository } from './process.js';

/** `a.{b,c}` as `a.b` and `a.c`. */
function expand(pattern: string): string[] {
  const match = /^(.*?)\{(.*?)\}(.*)$/.exec(pattern);
  if (match === null) return [pattern];
  const [, before = '', names = '', after = ''] = match;
  return names.split(',').flatMap((name) => expand(`${before}${name}${after}`));
}

function readSchema(): ReadonlyMap<string, readonly string[]> {
  const page = readFileSync(join(repository, 'docs/load-generator.md'), 'utf8');
  const results = page.slice(page.indexOf('## Results'));
  const rows = [...results.matchAll(/^\| (`.*?) \| ([a-z ]+) \|/gm)];
  return new Map(
    rows.flatMap(([, members = '', types = '']) =>
      [...members.matchAll(/`(.+?)`/g)]
        .flatMap(([, pattern = '']) => expand(pattern))
        .map((path) => [path, types.split(' or ')] as const),
    ),
  );
}

/** Path to type of each member that is documented; see the page for how paths are written. */
export const benchSchema = readSchema();

function leaves(value: unknown, path: string): [path: string, type: string][] {
  if (Array.isArray(value)) return value.flatMap((each) => leaves(each, `${path}[]`));
  if (value === null || typeof value !== 'object') {
    return [[path, value === null ? 'null' : typeof value]];
  }
  return Object.entries(value).flatMap(([name, member]) => {
    const key = path === 'errorCodes' ? '*' : name;
    return leaves(member, path === '' ? key : `${path}.${key}`);
  });
}

/** Fails when a result has a member that is not documented so; returns the paths of all. */
export function expectDocumented(result: object): ReadonlySet<string> {
  const found = leaves(result, '');
  const foreign = found.filter(([path, type]) => benchSchema.get(path)?.includes(type) !== true);
  expect(foreign).toEqual([]);
  return new Set(found.map(([path]) => path));
}
