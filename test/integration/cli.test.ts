// The `verbena` program as its user meets it: exit codes, one-line failures, serve, ping and run.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ended, type TestProcess, verbena } from '../helpers/process.js';

let folder: string;
let dev: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'verbena-cli-'));
  dev = join(folder, 'dev');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What a server of this test is started with. */
const soft = (): string[] => ['serve', '--device', 'soft', '--dev-cert', dev, '--port', '0'];

async function listening(server: TestProcess): Promise<string> {
  const [, address] = await server.waitFor(/listening on (\S+)/);
  return address ?? '';
}

function expectOneLine({ stdout, stderr }: Ended, pattern: RegExp): void {
  // Log entries are JSON; warnings are one line each.
  const lines = stderr
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('{') && !/^verbena: warning: /.test(line));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(pattern);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(stdout).toBe('');
}

describe('usage', () => {
  it.each([[[]], [['serve']], [['ping']], [['run']], [['demo']], [['probe-limits']]])(
    'explains %j with examples',
    async (command) => {
      const { code, stdout } = await verbena([...command, '--help']).ended;
      expect(code).toBe(0);
      expect(stdout).toMatch(/verbena (demo|serve|ping|run|probe-limits)/);
    },
  );

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

describe('serve', () => {
  it.each([
    ['no certificate', ['--device', 'soft'], /--dev-cert DIR/],
    ['a missing file', ['--cert', '/missing.pem', '--key', '/missing.pem'], /missing\.pem.*--cert/],
    ['an unknown device', ['--device', 'mlx9_9', '--dev-cert', 'DEV'], /mlx9_9/],
    ['an address for TLS that is not here', ['--host', '203.0.113.1', '--dev-cert', 'DEV'], /203/],
    [
      'an address for the device that is not here',
      ['--device', 'soft', '--soft-addr', '203.0.113.1', '--dev-cert', 'DEV'],
      /203\.0\.113\.1/,
    ],
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

  it('says that the port is taken, and leaves the server that has it alone', async () => {
    await using first = verbena(soft());
    const address = await listening(first);
    const port = address.split(':').at(-1) ?? '';
    const second = await verbena([...soft().slice(0, -1), port]).ended;
    expect(second.code).toBe(1);
    expectOneLine(second, new RegExp(`${port}: another server uses it`));
    const ping = ['ping', address, '--ca', join(dev, 'ca.pem'), '--device', 'soft', '-c', '1'];
    await verbena(ping).succeeded();
  });

  it('drains on SIGTERM: the client is told, and the status is 0', async () => {
    await using server = verbena(soft());
    const address = await listening(server);
    const args = ['ping', address, '--ca', join(dev, 'ca.pem'), '--device', 'soft', '-c', '1000'];
    await using client = verbena(args);
    await client.waitFor(/seq=1 /);
    server.child.kill('SIGTERM');
    expect((await server.ended).code).toBe(0);
    expect(server.stderr).toMatch(/"stopped"/);
    const { code, stdout } = await client.ended;
    expect(code).toBe(1);
    expect(stdout).toMatch(/stopped: .+\n[\s\S]*0% lost/);
  });
});

describe('ping', () => {
  it('prints each request and a summary, or one JSON document', async () => {
    await using server = verbena(soft());
    const address = await listening(server);
    const args = ['ping', address, '--ca', join(dev, 'ca.pem'), '--device', 'soft', '-i', '1'];
    const text = await verbena([...args, '-c', '3', '-s', '100']).succeeded();
    expect(text.stdout.match(/100 bytes: seq=\d time=[\d.]+ µs/g)).toHaveLength(3);
    expect(text.stdout).toMatch(/3 requests sent, 3 answered, 0% lost\nmin\/avg\/p50\/p99\/max/);
    const json = await verbena([...args, '-c', '4', '--json']).succeeded();
    expect(JSON.parse(json.stdout)).toMatchObject({ sent: 4, received: 4, errors: [] });
  });

  it('refuses a server that it cannot verify, and warns when told not to verify', async () => {
    await using server = verbena(soft());
    const address = await listening(server);
    const args = ['ping', address, '--device', 'soft', '-c', '1'];
    const refused = await verbena(args).ended;
    expect(refused.code).toBe(1);
    expectOneLine(refused, /--ca FILE/);
    const insecure = await verbena([...args, '--insecure']).succeeded();
    expect(insecure.stderr).toMatch(/WARNING.*NOT verified/);
    expect(insecure.stdout).toMatch(/1 answered/);
  });

  it('says in one line that nobody listens, and that a file is missing', async () => {
    const nobody = await verbena(['ping', '127.0.0.1:1', '--device', 'soft', '--insecure']).ended;
    expect(nobody.code).toBe(1);
    expect(nobody.stderr.trim().split('\n').at(-1)).toMatch(/127\.0\.0\.1 port 1: nothing listens/);
    const missing = await verbena(['ping', '127.0.0.1:1', '--ca', '/missing.pem']).ended;
    expect(missing.code).toBe(1);
    expectOneLine(missing, /missing\.pem/);
  });
});

describe('run', () => {
  it('passes the arguments, the environment and the exit status through', async () => {
    const script = 'echo "$1 $VERBENA_SOFT_ADDR $VERBENA_SOFT_FAULTS $VERBENA_SOFT_LOG"; exit 7';
    const options = ['--addr', '127.0.0.77', '--faults', 'drop=0.1'];
    const { code, stdout } = await verbena(['run', ...options, '--', 'sh', '-c', script, '-', '-x'])
      .ended;
    expect(code).toBe(7);
    expect(stdout).toBe('-x 127.0.0.77 drop=0.1 stderr\n');
  });

  it('passes signals on to the program and tells how it ended', async () => {
    const idle = 'setInterval(() => {}, 1e9); console.log("ready");';
    const handler = 'process.on("SIGUSR2", () => process.exit(9));';
    await using handling = verbena(['run', '--', 'node', '-e', handler + idle]);
    await using ending = verbena(['run', '--', 'node', '-e', idle]);
    await handling.waitFor(/ready/);
    await ending.waitFor(/ready/);
    handling.child.kill('SIGUSR2');
    ending.child.kill('SIGTERM');
    expect((await handling.ended).code).toBe(9);
    expect((await ending.ended).code).toBe(143);
  });

  it('says that there is no such program', async () => {
    const ended = await verbena(['run', '--', 'no-such-program-of-verbena']).ended;
    expect(ended.code).toBe(127);
    expectOneLine(ended, /no-such-program-of-verbena/);
  });
});
