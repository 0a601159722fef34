// The `verbena` program before it opens a device: help, exit codes, failures in one line.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectOneLine, verbena } from '../../helpers/process.js';

let folder: string;
let dev: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'verbena-usage-'));
  dev = join(folder, 'dev');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('usage', () => {
  it.each([
    [[]],
    [['serve']],
    [['config']],
    [['ping']],
    [['run']],
    [['demo']],
    [['stress']],
    [['bench']],
    [['probe-limits']],
  ])('explains %j with examples', async (command) => {
    const { code, stdout } = await verbena([...command, '--help']).ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/verbena (demo|serve|config|ping|run|stress|bench|probe-limits)/);
  });

  it.each([
    ['no command', []],
    ['an unknown command', ['swerve']],
    ['an unknown option', ['serve', '--colour', 'red']],
    ['a number out of range', ['demo', '--clients', '0']],
    ['a bad setting', ['serve', '--port', '70000']],
    ['a bad target', ['ping', 'host:port']],
  ])('ends with status 2 for %s', async (_, command) => {
    const { code, stderr } = await verbena(command).ended;
    expect(code).toBe(2);
    expect(stderr).not.toBe('');
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it('ends with status 78 for a bad variable and for a bad configuration file', async () => {
    const env = { ...process.env, VERBENA_PORT: 'many' };
    const variable = await verbena(['serve'], { env }).ended;
    expect(variable.code).toBe(78);
    expectOneLine(variable, /VERBENA_PORT is "many"/);
    const path = join(folder, 'bad.json');
    await writeFile(path, '{"port": "many"}');
    const file = await verbena(['serve', '--config', path]).ended;
    expect(file.code).toBe(78);
    expectOneLine(file, /port in .*bad\.json/);
  });
});

describe('config', () => {
  it('prints each setting and where it comes from, for people and for programs', async () => {
    const path = join(folder, 'good.json');
    await writeFile(path, '{"keepaliveSec": 30, "device": "soft"}');
    const env = { ...process.env, VERBENA_PORT: '5000' };
    const args = ['config', '--config', path, '--max-connections', '7'];
    const text = await verbena(args, { env }).succeeded();
    expect(text.stdout).toMatch(/^maxConnections +7 +--max-connections$/m);
    expect(text.stdout).toMatch(/^port +5000 +VERBENA_PORT$/m);
    expect(text.stdout).toMatch(/^keepaliveSec +30 +keepaliveSec in .*good\.json$/m);
    expect(text.stdout).toMatch(/^requestTimeoutMs +5000 +default$/m);
    expect(text.stdout).toMatch(/^cert +– +not set$/m);
    const json = await verbena([...args, '--json'], { env }).succeeded();
    expect(JSON.parse(json.stdout)).toMatchObject({
      maxConnections: { value: 7, source: 'flag', from: '--max-connections' },
      port: { value: 5000, source: 'environment' },
      keepaliveSec: { value: 30, source: 'file' },
      requestTimeoutMs: { value: 5000, source: 'default' },
      cert: { value: null, source: 'default' },
    });
  });

  it('names every fault, in one line, with the status that serve ends with', async () => {
    const env = { ...process.env, VERBENA_KEEPALIVE_SEC: 'long' };
    for (const command of ['config', 'serve']) {
      const ended = await verbena([command, '--port', '70000'], { env }).ended;
      expect(ended.code).toBe(78);
      expectOneLine(ended, /--port is "70000".*; VERBENA_KEEPALIVE_SEC is "long"/);
    }
  });
});

describe('serve', () => {
  it.each([
    ['no certificate', ['--device', 'soft'], /--dev-cert DIR/],
    ['a missing file', ['--cert', '/missing.pem', '--key', '/missing.pem'], /missing\.pem.*--cert/],
    ['an unknown device', ['--device', 'mlx9_9', '--dev-cert', 'DEV'], /mlx9_9/],
    ['an address for TLS that is not here', ['--host', '203.0.113.1', '--dev-cert', 'DEV'], /203/],
  ])('says in one line what to do about %s, and ends with status 1', async (_, args, pattern) => {
    const ended = await verbena([
      'serve',
      '--port',
      '0',
      ...args.map((arg) => (arg === 'DEV' ? dev : arg)),
    ]).ended;
    expect(ended.code).toBe(1);
    expectOneLine(ended, pattern);
  });
});

describe('ping', () => {
  it('says in one line that nobody listens, and that a file is missing', async () => {
    const nobody = await verbena(['ping', '127.0.0.1:1', '--device', 'soft', '--insecure']).ended;
    expect(nobody.code).toBe(1);
    expect(nobody.stderr.trim().split('\n').at(-1)).toMatch(/127\.0\.0\.1 port 1: nothing listens/);
    const missing = await verbena(['ping', '127.0.0.1:1', '--ca', '/missing.pem']).ended;
    expect(missing.code).toBe(1);
    expectOneLine(missing, /missing\.pem/);
  });
});
