// `verbena serve`, `ping` and `demo` on a device, as their users meet them; what is the same on
// each device is in program/serve.test.ts.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { testDevice } from '../helpers/environment.js';
import { repository, verbena } from '../helpers/process.js';
import { listening, useServeFolder } from '../helpers/serve.js';

const folder = useServeFolder();
const { serve } = folder;

describe('serve', () => {
  it('drains on SIGTERM: the client is told, and the status is 0', async () => {
    await using server = verbena(serve());
    const address = await listening(server);
    const ca = join(folder.dev, 'ca.pem');
    const args = ['ping', address, '--ca', ca, '--device', testDevice, '-c', '1000'];
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

describe('serve --workers', () => {
  const handler = join(repository, 'test/helpers/worker-handler.mjs');

  it('drains on SIGTERM: clients of all workers are told, and the status is 0', async () => {
    const options = ['--workers', '2', '--handler', handler, '--worker-strategy', 'least-loaded'];
    await using server = verbena([...serve(), ...options, '--worker-affinity', 'auto']);
    const address = await listening(server);
    expect(server.stderr).toContain('clients are served by 2 workers');
    const ca = join(folder.dev, 'ca.pem');
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
});

describe('ping', () => {
  it('prints each request and a summary, or one JSON document', async () => {
    await using server = verbena(serve());
    const address = await listening(server);
    const args = [
      'ping',
      address,
      '--ca',
      join(folder.dev, 'ca.pem'),
      '--device',
      testDevice,
      '-i',
      '1',
    ];
    const text = await verbena([...args, '-c', '3', '-s', '100']).succeeded();
    expect(text.stdout.match(/100 bytes: seq=\d time=[\d.]+ µs/g)).toHaveLength(3);
    expect(text.stdout).toMatch(/3 requests sent, 3 answered, 0% lost\nmin\/avg\/p50\/p99\/max/);
    const json = await verbena([...args, '-c', '4', '--json']).succeeded();
    expect(JSON.parse(json.stdout)).toMatchObject({ sent: 4, received: 4, errors: [] });
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
