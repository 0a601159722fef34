// Programs that we did not write, on the soft device at one end and on the kernel's rxe at the
// other: rdma-core's ping-pongs and perftest.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { softLibraryPath } from '../../src/native/load.js';
import {
  addresses,
  commandOn,
  rxeResources,
  softEnvironment,
  type Family,
  type Side,
} from '../helpers/interop.js';
import { freePort, TestProcess, waitUntilListening, type Ended } from '../helpers/process.js';

const gidStart: Readonly<Record<Family, string>> = {
  ipv4: '0000:0000:0000:0000:0000:ffff',
  ipv6: 'fd11',
};

/** The index of rxe0's address in its table. */
function gidIndexOfRxe(family: Family): number {
  const folder = '/sys/class/infiniband/rxe0/ports/1/gids';
  const found = readdirSync(folder).find((index) =>
    readFileSync(join(folder, index), 'utf8').startsWith(gidStart[family]),
  );
  return Number(found);
}

interface Case {
  readonly program: string;
  readonly args: string;
  readonly client: Side;
  readonly family: Family;
}

const other = (side: Side): Side => (side === 'soft' ? 'rxe' : 'soft');

/**
 * Runs a program as server on one side and as its client on the other. `gidOption` takes the GID's
 * index.
 */
async function runAcross(
  gidOption: string,
  commonArgs: string,
  { program, args, client, family }: Case,
): Promise<Ended[]> {
  const port = await freePort();
  const start = (side: Side, more: readonly string[]): TestProcess => {
    const device = side === 'soft' ? 'soft0' : 'rxe0';
    const gid = side === 'soft' ? 0 : gidIndexOfRxe(family);
    const preload = { ...softEnvironment(family), LD_PRELOAD: softLibraryPath() };
    const environment =
      side === 'soft' ? Object.entries(preload).map((pair) => pair.join('=')) : [];
    const [command, ...rest] = commandOn(side, [
      ...['env', ...environment, program, '-d', device, gidOption, String(gid)],
      ...['-p', String(port), ...`${commonArgs} ${args}`.trim().split(' '), ...more],
    ]);
    return new TestProcess(command, rest, { timeoutMs: 120_000 });
  };
  await using server = start(other(client), []);
  await waitUntilListening(port, server);
  await using caller = start(client, [addresses[other(client)].ipv4]);
  return await Promise.all([caller.succeeded(), server.succeeded()]);
}

const directions = [
  { client: 'soft', family: 'ipv4' },
  { client: 'rxe', family: 'ipv6' },
  { client: 'soft', family: 'ipv6' },
  { client: 'rxe', family: 'ipv4' },
] as const;

/** Each program with every value of client and family; nightly, with every combination of them. */
function everywhere(programs: readonly (readonly [string, string])[]): Case[] {
  const isFull = process.env['VERBENA_INTEROP'] === 'full';
  return programs.flatMap(([program, args], index) => {
    const first = (index % 2) * 2;
    const wanted = isFull ? directions : directions.slice(first, first + 2);
    return wanted.map((direction) => ({ program, args, ...direction }));
  });
}

let resourcesBefore: string;
beforeAll(async () => {
  resourcesBefore = await rxeResources();
});
afterAll(async () => {
  expect(await rxeResources()).toBe(resourcesBefore);
});

const pingPongs = everywhere([
  ['ibv_rc_pingpong', ''],
  ['ibv_rc_pingpong', '-e'],
  ['ibv_rc_pingpong', '-s 65536 -m 4096'],
  ['ibv_uc_pingpong', ''],
  ['ibv_uc_pingpong', '-e'],
  ['ibv_ud_pingpong', '-s 1024'],
  ['ibv_ud_pingpong', '-s 1024 -e'],
  ['ibv_srq_pingpong', '-q 4'],
  ['ibv_srq_pingpong', '-q 4 -e'],
]);

// -c has the receiver compare every page with what it expects; it tells only what differs.
it.each(pingPongs)(
  '$program $args moves data that arrives unchanged: $client client, $family',
  async (options) => {
    for (const { stdout, stderr } of await runAcross('-g', '-n 100 -c', options)) {
      expect(stdout).toMatch(/100 iters in/);
      expect(stdout + stderr).not.toMatch(/invalid data/i);
    }
  },
);

// What of READs and atomics may be outstanding is no part of what the two ends tell each other.
const measurements = everywhere([
  ['ib_write_bw', '-s 65536'],
  ['ib_read_bw', '-s 65536 -o 16'],
  ['ib_send_bw', '-s 65536'],
  ['ib_atomic_bw', '-o 16'],
  ['ib_write_lat', ''],
  ['ib_read_lat', '-o 16'],
  ['ib_send_lat', '-e'],
  ['ib_atomic_lat', '-o 16'],
  ['ib_write_bw', '-c UC -s 4096'],
  ['ib_send_bw', '-c UC -s 4096'],
  ['ib_send_lat', '-c UC'],
  ['ib_send_bw', '-c UD -s 1024'],
  ['ib_send_lat', '-c UD'],
]);

it.each(measurements)('$program $args measures: $client client, $family', async (options) => {
  const [caller] = await runAcross('-x', '-F -n 100', options);
  // Bytes, iterations, then what was measured: how much is a matter of the machine.
  expect(caller?.stdout).toMatch(/^\s*\d+\s+100\s+\d+\.\d+/m);
});
