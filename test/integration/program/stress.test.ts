// `verbena stress` against a server of the user's, and its verdict when something is wrong.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Server } from '../../../src/index.js';
import { Family } from '../../helpers/family.js';
import { freePort, verbena, type TestProcess } from '../../helpers/process.js';
import { fails, fault, nothing, passes, patience, resultOf, stress } from '../../helpers/stress.js';
import { startServer, testCertificate } from '../../helpers/verbena.js';

vi.setConfig(patience);

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'verbena-stress-'));
  writeFileSync(join(folder, 'ca.pem'), (await testCertificate()).ca);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('a scenario against a server that is given', () => {
  let server: Server;
  let answers = 0;
  let isCorrupting = false;
  beforeAll(async () => {
    server = await startServer({
      maxConnections: 10,
      handler: ({ payload }) => {
        answers += 1;
        if (isCorrupting && answers % 50 === 0) payload[0] = (payload[0] ?? 0) ^ 1;
        return payload;
      },
    });
  });
  afterAll(() => server.close());

  const given = (): string[] => [
    `127.0.0.1:${server.address().port}`,
    '--ca',
    join(folder, 'ca.pem'),
  ];

  it('judges what its clients see, and says so', async () => {
    const result = await passes('concurrent', ...given(), '--requests', '20');
    expect(result).toMatchObject({ clients: 5, judged: ['clients'], server: given()[0] });
  });

  it('fills it, when told its capacity', async () => {
    expect(await passes('full', ...given(), '--clients', '10')).toMatchObject({ provoked: 1 });
  });

  it('kills clients of it', async () => {
    expect(await passes('chaos', ...given(), '--deaths', '8', '--seed', '212')).toMatchObject({
      provoked: 8,
      judged: ['clients'],
    });
  });

  it('fails when one client too many is not refused', async () => {
    const { result, stderr } = await fails(['full', ...given(), '--clients', '4']);
    expect(result).toMatchObject({ errors: 1, provoked: 0 });
    expect(stderr).toMatch(/one client too many met with no refusal/);
  });

  it('fails when a client is refused that should not be', async () => {
    const { stderr } = await fails(['herd', ...given(), '--clients', '14']);
    expect(stderr).toMatch(/RESOURCE_EXHAUSTED/);
  });

  it('fails when every 50th answer is wrong', async () => {
    isCorrupting = true;
    const { result, stderr } = await fails(['sequential', ...given(), '--requests', '60']);
    expect(result.errors).toBe(3);
    expect(result.leaked).toEqual(nothing);
    expect(stderr).toMatch(/client0: an echo came back changed/);
  });
});

it('cycles for a time, when told one', async () => {
  const { clients } = await passes('cycling', '--seconds', '1', '--clients', '1');
  expect(clients).toBeGreaterThanOrEqual(50 + 10);
});

describe('a scenario fails', () => {
  it('when the server keeps queue pairs', async () => {
    const args = ['concurrent', '--requests', '5'];
    const { result } = await fails(args, fault('keeps queue pairs', 'server-process.js'));
    expect(result.leaked.pd).toBeGreaterThan(0);
  });

  it('when clients keep queue pairs', async () => {
    const args = ['herd', '--clients', '24'];
    const { stderr } = await fails(args, fault('keeps queue pairs', 'client-process.js'));
    expect(stderr).toMatch(/client\d: closing a connection: .*left open: pd, cq, qp, mr/);
  });

  it.each([
    ['keeps files', /server grew by \d+ descriptors/],
    ['keeps memory', /server grew by \d+ heapBytes/],
  ])('when the server %s while clients come and go', async (name, problem) => {
    const { stderr } = await fails(
      ['cycling', '--cycles', '50', '--clients', '1'],
      fault(name, 'server-process.js'),
    );
    expect(stderr).toMatch(problem);
  });

  it('when the server never gives a silent client up', async () => {
    const env = fault('has all the patience', 'server-process.js');
    const { stderr } = await fails(['chaos', '--deaths', '1', '--seed', '7'], env);
    expect(stderr).toMatch(/the server still had stopped\d+ 5000 ms after its end/);
  });

  it('when the dead leave something behind', async () => {
    const env = fault('keeps queue pairs', 'server-process.js');
    const { stderr } = await fails(['chaos', '--deaths', '6', '--seed', '1'], env);
    expect(stderr).toMatch(/beside 3 survivors the server has 3 sessions, [4-9] queue pairs/);
  });

  it.each([
    ['ends others with the dead', /client0 lost its connection \(ERR_VERBENA_PEER_CLOSED\)/],
    ['clears what others have', /client0: the (counter|region) /],
  ])('when the death of one disturbs another: the server %s', async (name, problem) => {
    const env = fault(name, 'server-process.js');
    const args = ['chaos', '--deaths', '4', '--seed', '1', '--clients', '1'];
    const { result, stderr } = await fails(args, env);
    expect(result).toMatchObject({ provoked: 4, leaked: nothing });
    expect(stderr).toMatch(problem);
  });

  it('when two sessions at a time have the same packet sequence number', async () => {
    const args = ['concurrent', '--requests', '5'];
    const { stderr } = await fails(args, fault('repeats numbers', 'server-process.js'));
    expect(stderr).toMatch(/two live sessions have the packet sequence number 4711/);
  });

  it('when nothing listens there', async () => {
    const port = await freePort();
    const { result, stderr } = await fails(['sequential', `127.0.0.1:${port}`]);
    expect(result).toMatchObject({ clients: 0, errors: 3 });
    expect(stderr).toMatch(/nothing listens there/);
  });

  it('when the device is not there', async () => {
    const run = verbena(['stress', 'sequential', '--device', 'mlx9_9', '--json']);
    const { code, stdout, stderr } = await run.ended;
    expect(code).toBe(1);
    expect(resultOf(stdout)).toMatchObject({ passed: false, clients: 0 });
    expect(stderr).toMatch(/mlx9_9/);
  });
});

describe('a scenario that is disturbed', () => {
  const longRun = (): TestProcess => stress(['mixed', '--seconds', '1000']);

  it('reports that its server was killed, and leaves no process', async () => {
    await using run = longRun();
    const family = new Family(run);
    const server = await family.childNamed('server-process');
    await run.waitFor(/connected/, 'stderr');
    family.note();
    process.kill(server, 'SIGKILL');
    const { code, stdout, stderr } = await run.ended;
    expect(code).toBe(1);
    expect(resultOf(stdout).passed).toBe(false);
    expect(stderr).toMatch(/the server was ended by SIGKILL/);
    expect(family.running).toEqual([]);
  });

  it('reports that a client was killed, and leaves no process', async () => {
    await using run = longRun();
    const family = new Family(run);
    await run.waitFor(/connected/, 'stderr');
    const client = await family.childNamed('client-process');
    family.note();
    process.kill(client, 'SIGKILL');
    await run.waitFor(/was ended by SIGKILL/, 'stderr');
    run.child.kill('SIGINT');
    const { stdout } = await run.ended;
    expect(resultOf(stdout).errors).toBeGreaterThan(0);
    expect(family.running).toEqual([]);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('tells what ran after %s, and leaves no process', async (signal, status) => {
    await using run = longRun();
    await run.waitFor(/connected/, 'stderr');
    const family = new Family(run).note();
    run.child.kill(signal);
    const { code, stdout, stderr } = await run.ended;
    expect(code).toBe(status);
    expect(resultOf(stdout)).toMatchObject({ passed: false, interrupted: true });
    expect(resultOf(stdout).clients).toBeGreaterThanOrEqual(4);
    expect(stderr).toMatch(/was interrupted/);
    expect(family.running).toEqual([]);
  });

  it('leaves no process when it is killed itself', async () => {
    await using run = longRun();
    await run.waitFor(/connected/, 'stderr');
    const family = new Family(run).note();
    run.child.kill('SIGKILL');
    await run.ended;
    await family.gone();
  });
});

describe('wrong usage', () => {
  it.each([
    ['an unknown scenario', ['stampede'], /no scenario "stampede".*sequential, concurrent, full/],
    ['an option of another scenario', ['sequential', '--deaths', '5'], /--deaths is not for "seq/],
    ['a number and a time', ['cycling', '--cycles', '5', '--seconds', '5'], /exclude each other/],
    ['a certificate without a server', ['full', '--ca', 'ca.pem'], /give HOST/],
    ['two kinds of trust', ['full', 'h', '--ca', 'ca.pem', '--insecure'], /exclude each other/],
    ['a server that is none', ['full', 'host:port'], /is no server/],
    ['a number out of range', ['herd', '--clients', '0'], /from 1 to/],
    ['no scenario', [], /missing required argument/],
  ])('is told for %s', async (_, args, message) => {
    const { code, stdout, stderr } = await verbena(['stress', ...args]).ended;
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(stdout).toBe('');
  });
});
