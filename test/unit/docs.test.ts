// The documentation keeps up with the code: links, error codes, settings, variables and scripts.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { flagOf, serveSettings } from '../../src/config/settings.js';
import { errorCodes } from '../../src/errors.js';

const root = resolve(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

/** What `text` holds that matches, each once. */
function matches(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map(([whole]) => whole))].sort();
}

describe('documentation', () => {
  it.each(pages)('%s links to files that exist', (page) => {
    const targets = [...read(page).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)]
      .map(([, target]) => target ?? '')
      .filter((target) => !/^https?:/.test(target));
    const missing = targets.filter((target) => !existsSync(join(root, dirname(page), target)));
    expect(missing).toEqual([]);
  });

  it('explains every error code, and no code that does not exist', () => {
    const documented = matches(read('docs/errors.md'), /ERR_VERBENA_[A-Z_]*[A-Z]/g);
    expect(documented).toEqual([...errorCodes].sort());
  });

  it('lists each setting with its flag, variable and default', () => {
    const rows = read('docs/operations.md')
      .split('\n')
      .filter((line) => line.startsWith('|'));
    const wrong = serveSettings.filter((setting) => {
      const row = rows.find((line) => line.includes(`\`${flagOf(setting.key)}\``)) ?? '';
      const fallback = 'default' in setting ? String(setting.default) : '';
      const names = row.includes(`\`${setting.key}\``) && row.includes(`\`${setting.env}\``);
      return !names || !row.replaceAll(/(\d),(?=\d{3})/g, '$1').includes(fallback);
    });
    expect(wrong.map(({ key }) => key)).toEqual([]);
  });

  it('explains every variable that the soft device reads', () => {
    const sources = readdirSync(join(root, 'native/soft'), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(cc|h)$/.test(name))
      .map((name) => read(join('native/soft', name)))
      .join('\n');
    const known = matches(sources, /(?<=")VERBENA_SOFT_[A-Z]+(?=")/g);
    const page = read('docs/soft-device.md');
    expect(known.length).toBeGreaterThan(4);
    expect(known.filter((name) => !page.includes(name))).toEqual([]);
  });

  it('names npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = pages.flatMap((page) => [...read(page).matchAll(/npm run ([\w:]+)/g)]);
    const unknown = named.map(([, name]) => name ?? '').filter((name) => !(name in scripts));
    expect(unknown).toEqual([]);
  });
});
