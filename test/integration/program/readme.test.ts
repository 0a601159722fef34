// The README's server and client: extracted, type-checked against the built package, and run.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { devCertificateIn } from '../../../src/cli/dev-certificate.js';
import { freePort, repository, TestProcess } from '../../helpers/process.js';

// Inside the repository, so that `import 'verbena'` finds this package by its own name.
const folder = join(repository, 'build-readme');

async function snippets(): Promise<string[]> {
  const readme = await readFile(join(repository, 'README.md'), 'utf8');
  return [...readme.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code ?? '');
}

beforeAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  await devCertificateIn(join(folder, 'dev'), 'localhost');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('README.md', () => {
  it('shows a server and a client of at most 15 lines that work', async () => {
    const [server = '', client = '', ...others] = await snippets();
    expect(others).toEqual([]);
    const port = String(await freePort());
    for (const [name, code] of Object.entries({ server, client })) {
      expect(code.trim().split('\n').length).toBeLessThanOrEqual(15);
      expect(code).toContain('4791');
      await writeFile(join(folder, `${name}.ts`), code.replace('4791', port));
    }
    const options = [
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--lib',
      'es2023,esnext.disposable',
    ];
    const strictness = ['--strict', '--skipLibCheck', '--types', 'node'];
    const compiler = join(repository, 'node_modules/.bin/tsc');
    const files = ['server.ts', 'client.ts'];
    await new TestProcess(compiler, [...options, ...strictness, '--ignoreConfig', ...files], {
      cwd: folder,
    }).succeeded();

    await using serving = new TestProcess(process.execPath, ['server.js'], { cwd: folder });
    await serving.waitFor(new RegExp(`listening on port ${port}`));
    const { stdout } = await new TestProcess(process.execPath, ['client.js'], {
      cwd: folder,
    }).succeeded();
    expect(stdout).toBe('verbena\nkept\n0n\n');
    await serving.waitFor(/has left/);
    serving.child.kill('SIGTERM');
    expect((await serving.ended).code).toBe(0);
  });
});
