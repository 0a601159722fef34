// Programs that we did not write, unmodified, on the soft device: ibverbs-utils, perftest, tshark.
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

/** One packet of a capture as tshark dissected it. */
interface Packet {
  readonly source: string;
  readonly opcode: number;
  readonly psn: number;
}

async function tshark(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('tshark', ['-n', ...args]);
  return stdout.trim();
}

async function dissect(path: string): Promise<Packet[]> {
  const fields = ['ip.src', 'infiniband.bth.opcode', 'infiniband.bth.psn'];
  const columns = fields.flatMap((field) => ['-e', field]);
  const rows = await tshark('-r', path, '-Y', 'infiniband', '-T', 'fields', ...columns);
  return rows.split('\n').map((row) => {
    const [source = '', opcode, psn] = row.split('\t');
    return { source, opcode: Number(opcode), psn: Number(psn) };
  });
}

describe('a capture of a session', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'verbena-capture-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('is InfiniBand to tshark, with the PSNs that both sides agreed on over TLS', async () => {
    const path = join(folder, 'session.pcap');
    const dev = join(folder, 'dev');
    await using server = verbena(['serve', '--device', 'soft', '--dev-cert', dev, '--port', '0']);
    const [, address = ''] = await server.waitFor(/listening on (\S+)/);
    const ping = ['ping', address, '--ca', join(dev, 'ca.pem'), '--device', 'soft', '--json'];
    const env = { ...process.env, VERBENA_SOFT_PCAP: path };
    const { stdout } = await verbena([...ping, '-c', '5', '-i', '1'], { env }).succeeded();
    const { localPsn, remotePsn } = JSON.parse(stdout) as { localPsn: number; remotePsn: number };

    const frames = (await tshark('-r', path)).split('\n').length;
    const packets = await dissect(path);
    expect(packets).toHaveLength(frames);
    expect(await tshark('-r', path, '-Y', '_ws.malformed || _ws.expert.severity >= 8388608')).toBe(
      '',
    );
    // RC SEND opcodes are 0 to 5. The client speaks first, so its address is that of the first one.
    const sends = packets.filter(({ opcode }) => opcode <= 5);
    const client = sends[0]?.source;
    expect(sends[0]?.psn).toBe(localPsn);
    expect(sends.find(({ source }) => source !== client)?.psn).toBe(remotePsn);
    // On a busy machine a packet may be sent again: each number counts once.
    const psns = new Set(sends.filter(({ source }) => source === client).map(({ psn }) => psn));
    expect(psns.size).toBeGreaterThanOrEqual(6);
    expect([...psns]).toEqual([...psns].map((_, index) => (localPsn + index) % 2 ** 24));
  });
});
