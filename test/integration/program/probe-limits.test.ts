// `verbena probe-limits`: what it prints and the configuration that it writes.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verbena } from '../../helpers/process.js';

let folder: string;
let dev: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'verbena-probe-'));
  dev = join(folder, 'dev');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('probe-limits', () => {
  it('writes the room that it found into a configuration, beside what is there', async () => {
    const path = join(folder, 'probed.json');
    await writeFile(path, '{"port": 0, "maxConnections": 5}');
    const args = ['probe-limits', '--device', 'soft', '--most', '30', '--write', path];
    const { stdout } = await verbena(args).succeeded();
    expect(stdout).toMatch(/^protection domains +65536 +at least 30$/m);
    expect(stdout).toMatch(/^sessions +at least 30$/m);
    await using server = verbena(['serve', '--config', path, '--dev-cert', dev]);
    await server.waitFor(/room for 30 clients, limited by maxConnections/, 'stderr');
  });

  it('keeps its hands off a file that is no configuration', async () => {
    const path = join(folder, 'notes.txt');
    await writeFile(path, 'mine');
    const args = ['probe-limits', '--device', 'soft', '--most', '1', '--write', path];
    const ended = await verbena(args).ended;
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/cannot read .*notes\.txt/);
    expect(await readFile(path, 'utf8')).toBe('mine');
  });
});
