// The registry against `rdma resource show`: this program's count of its objects is the kernel's.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadAddon } from '../../../src/native/load.js';
import type { Server } from '../../../src/index.js';
import { kernelCounts, kernelCountsOf } from '../../helpers/kernel-resources.js';
import { stallingClient } from '../../helpers/stalling.js';
import {
  expectNoSessionObjects,
  expectNothingLeft,
  startServer,
  testCertificate,
} from '../../helpers/verbena.js';

const CLIENTS = 10;

let folder: string;
let caFile: string;
let server: Server;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'verbena-kernel-'));
  caFile = join(folder, 'ca.pem');
  writeFileSync(caFile, (await testCertificate()).ca);
  server = await startServer({ maxConnections: CLIENTS });
});

afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
  expectNothingLeft();
});

/** Objects of each kind in the table of the server. */
function registered(): Record<string, number> {
  const counts: Record<string, number> = { pd: 0, cq: 0, qp: 0, mr: 0 };
  for (const { kind } of server.snapshot().resources) {
    if (kind in counts) counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

it('counts what the kernel counts, with ten client processes and after their death', async () => {
  const alone = await kernelCounts();
  const clients = Array.from({ length: CLIENTS }, () =>
    stallingClient('connected', server, caFile),
  );
  try {
    await Promise.all(clients.map((client) => client.waitFor(/reached/)));
    expect(server.sessions()).toHaveLength(CLIENTS);
    const { pd, cq, qp, mr, device } = loadAddon().liveObjects();
    expect({ pd, cq, qp, device }).toEqual({ pd: CLIENTS, cq: CLIENTS, qp: CLIENTS, device: 1 });
    expect(registered()).toEqual({ pd, cq, qp, mr });
    expect(await kernelCountsOf(process.pid)).toEqual({ pd, cq, qp, mr });
    for (const { child } of clients) {
      const ofClient = await kernelCountsOf(child.pid ?? 0);
      expect(ofClient).toMatchObject({ pd: 1, cq: 1, qp: 1 });
    }
    const all = await kernelCounts();
    const made = { qp: all.qp - alone.qp, ctx: all.ctx - alone.ctx };
    expect(made).toEqual({ qp: 2 * CLIENTS, ctx: CLIENTS });
  } finally {
    for (const { child } of clients) child.kill('SIGKILL');
    await Promise.all(clients.map(({ ended }) => ended));
  }
  await expectNoSessionObjects(server);
  await expect.poll(kernelCounts).toEqual(alone);
});
