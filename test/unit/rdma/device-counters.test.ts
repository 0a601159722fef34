// A device's counters, from the soft device's page and from the kernel's files.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCountersPage, readKernelCounters } from '../../../src/rdma/device-counters.js';

describe('the page of the soft device', () => {
  it('has values from its start and their names from byte 2048 on', () => {
    const page = Buffer.alloc(4096);
    page.writeBigUInt64LE(7n, 0);
    page.writeBigUInt64LE(5_000_000_000n, 8);
    page.write('tx_packets\nrx_bytes\n', 2048);
    expect(parseCountersPage(page)).toEqual({ tx_packets: 7, rx_bytes: 5_000_000_000 });
  });
});

describe("the kernel's files", () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'verbena-sysfs-'));
    const put = (folder: string, name: string, text: string): void => {
      mkdirSync(join(root, 'mlx5_0', folder), { recursive: true });
      writeFileSync(join(root, 'mlx5_0', folder, name), text);
    };
    put('ports/1/counters', 'port_xmit_data', '123\n');
    put('ports/1/hw_counters', 'rnr_nak_retry_err', '4\n');
    put('ports/1/hw_counters', 'lifespan', 'often\n');
    put('ports/2/hw_counters', 'rnr_nak_retry_err', '9\n');
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  it('are those of the port that is used, and numbers only', async () => {
    const counters = await readKernelCounters('mlx5_0', 1, root);
    expect(counters).toEqual({ port_xmit_data: 123, rnr_nak_retry_err: 4 });
  });

  it('may all be missing', async () => {
    expect(await readKernelCounters('rxe0', 1, root)).toEqual({});
  });
});
