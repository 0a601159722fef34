// The demo's care for its processes: told, ended and counted, whichever of them is killed.
import { describe, expect, it } from 'vitest';
import type { DemoResult } from '../../../src/cli/demo/result.js';
import { Family } from '../../helpers/family.js';
import { type TestProcess, verbena } from '../../helpers/process.js';

const nothing = { pd: 0, cq: 0, qp: 0, mr: 0 };

function resultOf(stdout: string): DemoResult {
  expect(stdout.trim().split('\n')).toHaveLength(1);
  return JSON.parse(stdout) as DemoResult;
}

/** Starts a demo whose clients work long enough to be disturbed. */
function longDemo(): TestProcess {
  return verbena(['demo', '--clients', '4', '--requests', '20000', '--json'], {
    timeoutMs: 50_000,
  });
}

describe('verbena demo', () => {
  it('tells people in plain lines when there is no terminal', async () => {
    const args = ['--clients', '2', '--requests', '20', '--size', '100000'];
    const { stdout } = await verbena(['demo', ...args]).succeeded();
    expect(stdout).toMatch(/client0 connected/);
    expect(stdout).toMatch(/client1 left, 21 requests/);
    expect(stdout).toMatch(/Every byte and counter was right\.\n$/);
    expect(stdout).not.toContain('\u001b');
  });

  const moments: [string, (demo: TestProcess) => Promise<unknown>][] = [
    ['as soon as it runs', () => Promise.resolve()],
    ['when the first client is connected', (demo) => demo.waitFor(/connected/, 'stderr')],
    ['in the middle of the work', (demo) => demo.waitFor(/(working[\s\S]*){4}/, 'stderr')],
  ];

  it.each(moments)('reports a server killed %s, and no process is left', async (_, moment) => {
    await using demo = longDemo();
    const family = new Family(demo);
    const server = await family.childNamed('server-process');
    await moment(demo);
    family.note();
    process.kill(server, 'SIGKILL');
    const { code, stdout, stderr } = await demo.ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/the server was ended by SIGKILL/);
    const result = resultOf(stdout);
    expect(result.errors).toBeGreaterThan(0);
    expect(result.leaked).toEqual(nothing);
    expect(family.running).toEqual([]);
  });

  it.each(moments)('reports a client killed %s; the others finish', async (_, moment) => {
    await using demo = verbena(['demo', '--clients', '4', '--requests', '1000', '--json']);
    const family = new Family(demo);
    const client = await family.childNamed('client-process');
    await moment(demo);
    family.note();
    process.kill(client, 'SIGKILL');
    const { code, stdout, stderr } = await demo.ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/client\d was ended by SIGKILL/);
    expect(stderr.match(/client\d left/g)).toHaveLength(3);
    const result = resultOf(stdout);
    expect(result.errors).toBe(1);
    expect(result.leaked).toEqual(nothing);
    expect(family.running).toEqual([]);
  });

  it.each(moments)('leaves no process when it is killed itself %s', async (_, moment) => {
    await using demo = longDemo();
    await new Family(demo).childNamed('server-process');
    await moment(demo);
    const family = new Family(demo).note();
    demo.child.kill('SIGKILL');
    await demo.ended;
    await family.gone();
  });

  it('cleans up on Ctrl-C and says that it was interrupted', async () => {
    await using demo = longDemo();
    await demo.waitFor(/(working[\s\S]*){4}/, 'stderr');
    const family = new Family(demo).note();
    demo.child.kill('SIGINT');
    const { code, stderr } = await demo.ended;
    expect(code).toBe(130);
    expect(stderr).toMatch(/interrupted/);
    expect(family.running).toEqual([]);
  });
});
