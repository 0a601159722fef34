// Programs that we did not write, unmodified, on the soft device: ibverbs-utils and perftest.
import { describe, expect, it } from 'vitest';
import { verbena } from '../../helpers/process.js';
import { runPair } from '../../helpers/verbs-programs.js';

describe('ibverbs-utils', () => {
  it('ibv_devices lists the soft device', async () => {
    const { stdout } = await verbena(['run', '--', 'ibv_devices']).succeeded();
    expect(stdout).toMatch(/^\s*soft0\s+[0-9a-f]{16}$/m);
  });

  it('ibv_devinfo -v shows an active Ethernet port with a RoCE v2 address', async () => {
    const { stdout } = await verbena(['run', '--', 'ibv_devinfo', '-v']).succeeded();
    expect(stdout).toMatch(/hca_id:\s+soft0/);
    expect(stdout).toMatch(/state:\s+PORT_ACTIVE/);
    expect(stdout).toMatch(/link_layer:\s+Ethernet/);
    expect(stdout).toMatch(/GID\[\s*0\]:.*::ffff:127\.\d+\.\d+\.\d+.*RoCE v2/);
  });

  it.each([
    ['ibv_rc_pingpong', 'polling', []],
    ['ibv_rc_pingpong', 'with completion events', ['-e']],
    ['ibv_rc_pingpong', 'with MTU 256 and large messages', ['-m', '256', '-s', '65536']],
    ['ibv_uc_pingpong', 'polling', []],
    ['ibv_uc_pingpong', 'with completion events', ['-e']],
    ['ibv_uc_pingpong', 'with MTU 256 and large messages', ['-m', '256', '-s', '65536']],
    ['ibv_ud_pingpong', 'polling', []],
    ['ibv_ud_pingpong', 'with completion events', ['-e']],
    ['ibv_srq_pingpong', 'polling', []],
    ['ibv_srq_pingpong', 'with completion events', ['-e']],
  ])('%s %s moves data that arrives unchanged', async (program, _, options) => {
    // -c has the receiver compare every page with what it expects; it says so only when it differs.
    const args = ['-g', '0', '-n', '200', '-c', ...options];
    const { server, client } = await runPair(program, args);
    for (const { stdout, stderr } of [server, client]) {
      expect(stdout).toMatch(/200 iters in/);
      expect(stdout + stderr).not.toMatch(/invalid data/i);
    }
  });
});

describe('perftest', () => {
  it.each([
    ['ib_write_lat', 'RC'],
    ['ib_send_lat', 'RC'],
    ['ib_read_lat', 'RC'],
    ['ib_atomic_lat', 'RC'],
    ['ib_write_lat', 'UC'],
    ['ib_send_lat', 'UC'],
    ['ib_send_lat', 'UD'],
  ])('%s reports a latency over %s', async (program, transport) => {
    const { client } = await runPair(program, ['-F', '-n', '100', '-c', transport]);
    // bytes, iterations, then t_min and more: a latency that was measured is above zero.
    const row = /^\s*(\d+)\s+100\s+(\d+\.\d+)/m.exec(client.stdout);
    expect(Number(row?.[2]), client.stdout).toBeGreaterThan(0);
  });

  // Where nothing is sent again, the server waits for ever for a message that found no room: all of
  // them together fit into the smallest receive buffer that a socket has by default.
  it.each([
    ['ib_write_bw', 'RC', 65536],
    ['ib_send_bw', 'RC', 65536],
    ['ib_read_bw', 'RC', 65536],
    ['ib_write_bw', 'UC', 65536],
    ['ib_send_bw', 'UC', 1024],
    ['ib_send_bw', 'UD', 1024],
  ])('%s reports a bandwidth over %s at %i bytes', async (program, transport, bytes) => {
    const options = ['-F', '-n', '100', '-c', transport, '-s', String(bytes)];
    const { client } = await runPair(program, options);
    const row = /^\s*(\d+)\s+100\s+(\d+\.\d+)\s+(\d+\.\d+)/m.exec(client.stdout);
    expect(Number(row?.[1]), client.stdout).toBe(bytes);
    expect(Number(row?.[3]), client.stdout).toBeGreaterThan(0);
  });

  // Both are in the group; what one sends reaches the other alone.
  it.each([
    ['ib_send_lat', ['-s', '64']],
    ['ib_send_bw', ['-s', '1024']],
  ])('%s works through a multicast group', async (program, size) => {
    const group = '0:0:0:0:0:0:0:0:0:0:255:255:239:77:0:1';
    const options = ['-F', '-n', '100', '-c', 'UD', '-g', '-M', group, ...size];
    const { client } = await runPair(program, options);
    expect(client.stdout).toMatch(/MultiCast runs on UD/);
    expect(client.stdout).toMatch(/^\s*\d+\s+100\s+\d+\.\d+/m);
  });

  it('ib_send_bw works event-driven as well', async () => {
    const { client } = await runPair('ib_send_bw', ['-F', '-n', '100', '-s', '4096', '-e']);
    expect(client.stdout).toMatch(/^\s*4096\s+100\s/m);
  });
});
