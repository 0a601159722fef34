// `verbena run`: any program with the soft device in place of libibverbs.
import { describe, expect, it } from 'vitest';
import { expectOneLine, freePort, verbena } from '../../helpers/process.js';

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

  it('prints what the device of each process counted, even of one that was killed', async () => {
    const pingpong = `ibv_rc_pingpong -g 0 -n 10 -p ${await freePort()}`;
    // Each attempt that comes too soon is a process with a device, too.
    const client = `until ${pingpong} 127.0.0.1 2>/dev/null; do :; done`;
    const script = `${pingpong} & ${client}; wait; kill -9 $$`;
    const ended = await verbena(['run', '--stats', '--', 'sh', '-c', script]).ended;
    expect(ended.code).toBe(137);
    const devices = ended.stderr.split(/^soft device of process \d+:\n/m).slice(1);
    expect(devices.length).toBeGreaterThanOrEqual(2);
    const sent = devices.filter((counters) => /^ {2}tx_packets +[1-9]\d*$/m.test(counters));
    expect(sent).toHaveLength(2);
  });

  it('says so when nothing opened the device, and leaves no file behind', async () => {
    const { code, stderr } = await verbena(['run', '--stats', '--', 'true']).ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'no process opened the soft device\n' });
  });

  it('says that there is no such program', async () => {
    const ended = await verbena(['run', '--', 'no-such-program-of-verbena']).ended;
    expect(ended.code).toBe(127);
    expectOneLine(ended, /no-such-program-of-verbena/);
  });
});
