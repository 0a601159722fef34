// `verbena serve`, `ping` and `demo` on a device, as their users meet them.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testDevice } from '../helpers/environment.js';
import { expectOneLine, repository, type TestProcess, verbena } from '../helpers/process.js';

let folder: string;
let dev: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'verbena-cli-'));
  dev = join(folder, 'dev');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What a server of this test is started with. */
const serve = (): string[] => ['serve', '--device', testDevice, '--dev-cert', dev, '--port', '0'];

async function listening(server: TestProcess): Promise<string> {
  const [, address] = await server.waitFor(/listening on (\S+)/);
  return address ?? '';
}

describe('serve', () => {
  it('says that the port is taken, and leaves the server that has it alone', async () => {
    await using first = verbena(serve());
    const address = await listening(first);
    const port = address.split(':').at(-1) ?? '';
    const second = await verbena([...serve().slice(0, -1), port]).ended;
    expect(second.code).toBe(1);
    expectOneLine(second, new RegExp(`${port}: another server uses it`));
    const ping = ['ping', address, '--ca', join(dev, 'ca.pem'), '--device', testDevice, '-c', '1'];
    await verbena(ping).succeeded();
  });

  it('drains on SIGTERM: the client is told, and the status is 0', async () => {
    await using server = verbena(serve());
    const address = await listening(server);
    const args = [
      'ping',
      address,
      '--ca',
      join(dev, 'ca.pem'),
      '--device',
      testDevice,
      '-c',
      '1000',
    ];
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

describe('serve on SIGHUP', () => {
  const file = (): string => join(folder, 'verbena.json');
  const write = (settings: object): Promise<void> => writeFile(file(), JSON.stringify(settings));
  const serveFile = (): string[] => [...serve().slice(0, -2), '--config', file()];

  it('reads its settings again, changes what can change, and names the rest', async () => {
    await write({ maxConnections: 5, port: 0 });
    await using server = verbena(serveFile());
    await listening(server);
    await write({ maxConnections: 7, port: 1, logLevel: 'warn' });
    server.child.kill('SIGHUP');
    await server.waitFor(/"needsRestart":\["port"\]/, 'stderr');
    expect(server.stderr).not.toContain('"clients":7');
    await write({ maxConnections: 8, port: 0, logLevel: 'info' });
    server.child.kill('SIGHUP');
    await server.waitFor(/"changed":\["maxConnections","logLevel"\],"clients":8/, 'stderr');
  });

  it('goes on as it was when there is a mistake, and says which', async () => {
    await write({ maxConnections: 5, port: 0 });
    await using server = verbena(serveFile());
    await listening(server);
    await write({ maxConnections: 0, port: 0 });
    server.child.kill('SIGHUP');
    await server.waitFor(/maxConnections in .* is 0.*settings stay as they were/, 'stderr');
    await write({ maxConnections: 6, port: 0 });
    server.child.kill('SIGHUP');
    await server.waitFor(/"changed":\["maxConnections"\],"clients":6/, 'stderr');
  });
});

describe('serve --workers', () => {
  const handler = join(repository, 'test/helpers/worker-handler.mjs');

  it('drains on SIGTERM: clients of all workers are told, and the status is 0', async () => {
    const options = ['--workers', '2', '--handler', handler, '--worker-strategy', 'least-loaded'];
    await using server = verbena([...serve(), ...options, '--worker-affinity', 'auto']);
    const address = await listening(server);
    expect(server.stderr).toContain('clients are served by 2 workers');
    const ca = join(dev, 'ca.pem');
    const args = ['ping', address, '--ca', ca, '--device', testDevice, '-c', '1000'];
    await using first = verbena(args);
    await using second = verbena(args);
    await Promise.all([first, second].map((client) => client.waitFor(/seq=1 /)));
    server.child.kill('SIGTERM');
    expect((await server.ended).code).toBe(0);
    expect(server.stderr).toMatch(/"stopped"/);
    for (const client of [first, second]) {
      const { code, stdout } = await client.ended;
      expect(code).toBe(1);
      expect(stdout).toMatch(/stopped: .+\n[\s\S]*0% lost/);
    }
  });

  it('echoes unless told otherwise, and names the fix for a handler that fails', async () => {
    await using server = verbena(serve(), {
      env: { ...process.env, VERBENA_WORKERS: '1', VERBENA_WORKER_HEAP_MB: '64' },
    });
    const address = await listening(server);
    const ca = join(dev, 'ca.pem');
    const ping = ['ping', address, '--ca', ca, '--device', testDevice, '-c', '2', '-i', '0'];
    await verbena(ping).succeeded();
    const broken = await verbena([...serve(), '--workers', '1', '--handler', 'nowhere.mjs']).ended;
    expect(broken.code).toBe(1);
    expectOneLine(broken, /nowhere\.mjs does not exist.*--handler/);
  });
});

describe('serve --admin-port', () => {
  it('says where it is, serves metrics there, and is gone with the server', async () => {
    await using server = verbena([...serve(), '--admin-port', '0']);
    await listening(server);
    const [, url = ''] = await server.waitFor(/status page and metrics on (http\S+)/);
    const metrics = await fetch(new URL('/metrics', url));
    expect(await metrics.text()).toContain('verbena_connections_active 0');
    server.child.kill('SIGTERM');
    expect((await server.ended).code).toBe(0);
    await expect(fetch(url)).rejects.toThrow();
  });

  it('is off unless asked for, and its failure ends the server with the fix', async () => {
    await using server = verbena(serve());
    const address = await listening(server);
    expect(server.stdout).not.toContain('http');
    const port = address.split(':').at(-1) ?? '';
    const second = await verbena([...serve(), '--admin-port', port]).ended;
    expect(second.code).toBe(1);
    expectOneLine(second, /another server uses it.*--admin-port/);
  });
});

describe('ping', () => {
  it('prints each request and a summary, or one JSON document', async () => {
    await using server = verbena(serve());
    const address = await listening(server);
    const args = ['ping', address, '--ca', join(dev, 'ca.pem'), '--device', testDevice, '-i', '1'];
    const text = await verbena([...args, '-c', '3', '-s', '100']).succeeded();
    expect(text.stdout.match(/100 bytes: seq=\d time=[\d.]+ µs/g)).toHaveLength(3);
    expect(text.stdout).toMatch(/3 requests sent, 3 answered, 0% lost\nmin\/avg\/p50\/p99\/max/);
    const json = await verbena([...args, '-c', '4', '--json']).succeeded();
    expect(JSON.parse(json.stdout)).toMatchObject({ sent: 4, received: 4, errors: [] });
  });

  it('refuses a server that it cannot verify, and warns when told not to verify', async () => {
    await using server = verbena(serve());
    const address = await listening(server);
    const args = ['ping', address, '--device', testDevice, '-c', '1'];
    const refused = await verbena(args).ended;
    expect(refused.code).toBe(1);
    expectOneLine(refused, /--ca FILE/);
    const insecure = await verbena([...args, '--insecure']).succeeded();
    expect(insecure.stderr).toMatch(/WARNING.*NOT verified/);
    expect(insecure.stdout).toMatch(/1 answered/);
  });
});

describe('demo', () => {
  it('runs on the device that it is told to use', async () => {
    const work = ['--clients', '1', '--requests', '20', '--size', '100000', '--json'];
    const { stdout } = await verbena(['demo', '--device', testDevice, ...work]).succeeded();
    expect(JSON.parse(stdout)).toMatchObject({
      device: expect.stringContaining(testDevice) as string,
      connected: 1,
      errors: 0,
      leaked: { pd: 0, cq: 0, qp: 0, mr: 0 },
    });
  });
});
