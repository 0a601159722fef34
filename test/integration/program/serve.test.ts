// `verbena serve` and `ping`: what they say, settings that change, and an admin port.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { testDevice } from '../../helpers/environment.js';
import { expectOneLine, verbena } from '../../helpers/process.js';
import { listening, useServeFolder } from '../../helpers/serve.js';

const folder = useServeFolder();
const { serve } = folder;

describe('serve', () => {
  it('says that the port is taken, and leaves the server that has it alone', async () => {
    await using first = verbena(serve());
    const address = await listening(first);
    const port = address.split(':').at(-1) ?? '';
    const second = await verbena([...serve().slice(0, -1), port]).ended;
    expect(second.code).toBe(1);
    expectOneLine(second, new RegExp(`${port}: another server uses it`));
    const ping = [
      'ping',
      address,
      '--ca',
      join(folder.dev, 'ca.pem'),
      '--device',
      testDevice,
      '-c',
      '1',
    ];
    await verbena(ping).succeeded();
  });
});

describe('serve on SIGHUP', () => {
  const file = (): string => join(folder.path, 'verbena.json');
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
  it('echoes unless told otherwise, and names the fix for a handler that fails', async () => {
    await using server = verbena(serve(), {
      env: { ...process.env, VERBENA_WORKERS: '1', VERBENA_WORKER_HEAP_MB: '64' },
    });
    const address = await listening(server);
    const ca = join(folder.dev, 'ca.pem');
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
