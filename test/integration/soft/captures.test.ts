// Captures of the soft device, dissected by tshark.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verbena } from '../../helpers/process.js';
import { tshark } from '../../helpers/tshark.js';

/** One packet of a capture as tshark dissected it. */
interface Packet {
  readonly source: string;
  readonly opcode: number;
  readonly psn: number;
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
