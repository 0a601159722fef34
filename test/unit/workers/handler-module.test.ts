// Handlers from modules: what loads, and what a module that does not is told to change.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadHandler } from '../../../src/workers/handler-module.js';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'verbena-handler-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

let written = 0;

function moduleOf(text: string): string {
  const path = join(folder, `handler-${++written}.mjs`);
  writeFileSync(path, text);
  return pathToFileURL(path).href;
}

describe('loadHandler', () => {
  it('returns the default export', async () => {
    const handler = await loadHandler(moduleOf('export default () => new Uint8Array(3);'));
    expect(handler({} as never)).toHaveLength(3);
  });

  it.each([
    [
      'export const handle = () => 1;',
      /has no default export \(it exports handle\).*export default/,
    ],
    ['', /has no default export \(it exports nothing\)/],
    ['export default { handle() {} };', /is no function but of type object.*export default/],
    ['export default null;', /is no function but null/],
    ['export default [1];', /is no function but an array/],
    ['throw new Error("not today");', /threw while it was loaded: not today.*Run/],
    ['import "./absent.mjs";', /threw while it was loaded: Cannot find module .*absent\.mjs/],
  ])('says what is wrong with %j', async (text, message) => {
    const href = moduleOf(text);
    await expect(loadHandler(href)).rejects.toMatchObject({
      code: 'ERR_VERBENA_HANDLER_MODULE',
      message: expect.stringMatching(message) as unknown,
    });
    await expect(loadHandler(href)).rejects.toThrow(`handler-${written}.mjs`);
  });

  it('says that there is no such file', async () => {
    const href = pathToFileURL(join(folder, 'nowhere.mjs')).href;
    await expect(loadHandler(href)).rejects.toMatchObject({
      code: 'ERR_VERBENA_HANDLER_MODULE',
      message: expect.stringMatching(/nowhere\.mjs does not exist.*--handler/) as unknown,
    });
  });
});
