// Programs that we did not write, unmodified, on the soft device: ibverbs-utils, perftest, tshark.
import { describe, expect, it } from 'vitest';
import { freePort, verbena, waitUntilListening, type Ended } from '../helpers/process.js';

interface PairResult {
  readonly server: Ended;
  readonly client: Ended;
}

/** Runs a program twice on the soft device: as server, then as its client on another address. */
async function runPair(program: string, args: readonly string[]): Promise<PairResult> {
  const port = await freePort();
  const command = ['run', '--', program, '-p', String(port), ...args];
  await using server = verbena(command);
  await waitUntilListening(port, server);
  await using client = verbena([...command, '127.0.0.1']);
  const [clientEnded, serverEnded] = await Promise.all([client.succeeded(), server.succeeded()]);
  return { server: serverEnded, client: clientEnded };
}

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
    ['polling', []],
    ['with completion events', ['-e']],
    ['with MTU 256 and large messages', ['-m', '256', '-s', '65536']],
  ])('ibv_rc_pingpong %s moves data that arrives unchanged', async (_, options) => {
    // -c has the receiver compare every page with what it expects; it says so only when it differs.
    const args = ['-g', '0', '-n', '200', '-c', ...options];
    const { server, client } = await runPair('ibv_rc_pingpong', args);
    for (const { stdout, stderr } of [server, client]) {
      expect(stdout).toMatch(/200 iters in/);
      expect(stdout + stderr).not.toMatch(/invalid data/i);
    }
  });
});

describe('perftest', () => {
  const latency = ['ib_write_lat', 'ib_send_lat', 'ib_read_lat', 'ib_atomic_lat'];
  const bandwidth = ['ib_write_bw', 'ib_send_bw', 'ib_read_bw'];

  it.each(latency)('%s reports a latency', async (program) => {
    const { client } = await runPair(program, ['-F', '-n', '100']);
    // bytes, iterations, then t_min and more: a latency that was measured is above zero.
    const row = /^\s*(\d+)\s+100\s+(\d+\.\d+)/m.exec(client.stdout);
    expect(Number(row?.[2]), client.stdout).toBeGreaterThan(0);
  });

  it.each(bandwidth)('%s reports a bandwidth at 64 KiB', async (program) => {
    const { client } = await runPair(program, ['-F', '-n', '100', '-s', '65536']);
    const row = /^\s*65536\s+100\s+(\d+\.\d+)\s+(\d+\.\d+)/m.exec(client.stdout);
    expect(Number(row?.[2]), client.stdout).toBeGreaterThan(0);
  });

  it('ib_send_bw works event-driven as well', async () => {
    const { client } = await runPair('ib_send_bw', ['-F', '-n', '100', '-s', '4096', '-e']);
    expect(client.stdout).toMatch(/^\s*4096\s+100\s/m);
  });
});
