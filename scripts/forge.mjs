// `npm run forge -- [--packets N] [--seed S] [--clients N] [--json]`: sends forged packets from
// another process to a server with clients; see docs/testing.md.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { buildNative } from './build-native.mjs';
import { buildTypeScript } from './build-ts.mjs';
import { victimsIn } from './lib/captured-victims.mjs';
import { Failure, main, must, root, run } from './lib/run.mjs';
import { buildTests } from './test-native.mjs';

/** Counters of packets that were dropped, or answered without being carried out. */
const REFUSALS = [
  'unknown_qpn',
  'duplicate_requests',
  'out_of_sequence',
  'bad_peer',
  'icrc_errors',
  'ghost_responses',
  'malformed',
  'bad_pkey',
  'bad_transport',
];
const PATTERN = [0xa5, 0x17, 0xc3];
const LONGEST_DRAIN_MS = 60_000;
const POLL_MS = 5;

/** A raw socket needs privileges, which a user namespace with a network of its own gives. */
async function inOwnNamespace(args) {
  const script = 'ip link set lo up && exec "$0" "$@"';
  const command = ['sh', '-c', script, process.execPath, join(root, 'scripts', 'forge.mjs')];
  const { code } = await run('unshare', ['-rn', ...command, ...args, '--built'], {
    output: 'inherit',
  });
  return code;
}

/** Starts a process of test/forge and waits for its first word. */
async function start(name, options, env) {
  const child = fork(join(root, 'test', 'forge', name), [JSON.stringify(options)], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Failure(`test/forge/${name} ended with ${code}`);
  });
  ended.catch(() => undefined);
  const ask = async (message) => {
    const answer = once(child, 'message');
    if (message !== undefined) child.send(message);
    const [found] = await Promise.race([answer, ended]);
    return found;
  };
  return { child, ask, first: await ask() };
}

/** How many packets the kernel dropped at the socket of the device with this address. */
function socketDropsOf(address) {
  const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  const local = `${bytes.reverse().join('').toUpperCase()}:12B7`;
  const rows = readFileSync('/proc/net/udp', 'ascii').split('\n');
  const row = rows.find((line) => line.includes(` ${local} `));
  if (row === undefined) throw new Failure(`no socket has the address ${address}`);
  return Number(row.trim().split(/\s+/).at(-1));
}

/** Waits until every packet is counted or was dropped; no honest packet is on the way meanwhile. */
async function drained(sent, count) {
  const end = performance.now() + LONGEST_DRAIN_MS;
  for (;;) {
    const found = count();
    if (found.counted + found.socketDrops >= sent || performance.now() > end) return found;
    await setTimeout(POLL_MS);
  }
}

async function attack({ packets, seed, clients: clientCount }, folder) {
  const { makeDevCertificate } = await import('../dist/cli/dev-certificate.js');
  const { parseCountersPage } = await import('../dist/rdma/device-counters.js');
  const { cert, key, ca } = await makeDevCertificate();
  const page = join(folder, 'counters');
  const capture = join(folder, 'clients.pcap');
  const server = await start('server.mjs', { cert, key }, { VERBENA_SOFT_COUNTERS: page });
  const { port } = server.first;
  const options = { port, ca, count: clientCount, pattern: PATTERN };
  const clients = await start('clients.mjs', options, { VERBENA_SOFT_PCAP: capture });
  const { address, victims } = victimsIn(readFileSync(capture), clients.first.regionBytes);
  if (victims.length !== clientCount) throw new Failure('the capture does not show every client');

  const counters = () => parseCountersPage(readFileSync(page));
  const before = counters();
  const dropsBefore = socketDropsOf(address);
  const forger = join(root, 'build-default', 'forge');
  const text = await must(forger, [packets, seed, address, ...victims], { output: 'capture' });
  const kinds = JSON.parse(text);
  const sent = Object.values(kinds).reduce((sum, count) => sum + count, 0);
  const count = () => {
    const now = counters();
    const grown = (name) => now[name] - before[name];
    const counted = REFUSALS.reduce((sum, name) => sum + grown(name), 0);
    return { counted, socketDrops: socketDropsOf(address) - dropsBefore };
  };
  const { counted, socketDrops } = await drained(sent, count);
  const { foreignBytes, sessions } = await server.ask({ pattern: PATTERN });
  const { disturbed } = await clients.ask({});
  await once(clients.child, 'exit');
  server.child.send({});
  await once(server.child, 'exit');
  const qpsDisturbed = Math.max(disturbed, clientCount - sessions);
  return {
    kinds,
    result: { sent, counted, socketDrops, bytesWritten: foreignBytes, qpsDisturbed },
  };
}

await main(async (args) => {
  const { values } = parseArgs({
    args,
    options: {
      packets: { type: 'string', default: String(2 ** 20) },
      seed: { type: 'string', default: '1' },
      clients: { type: 'string', default: '4' },
      json: { type: 'boolean', default: false },
      built: { type: 'boolean', default: false },
    },
  });
  if (!values.built) {
    await buildNative();
    await buildTypeScript();
    await buildTests('default', ['forge']);
    if (process.geteuid() !== 0) return inOwnNamespace(args);
  }
  const folder = mkdtempSync(join(tmpdir(), 'verbena-forge-'));
  try {
    const asked = { ...values, clients: Number(values.clients) };
    const { kinds, result } = await attack(asked, folder);
    console.error(
      `wrong in: ${Object.entries(kinds)
        .map((pair) => pair.join(' '))
        .join(', ')}`,
    );
    console.log(values.json ? JSON.stringify(result) : result);
    const { sent, counted, socketDrops, bytesWritten, qpsDisturbed } = result;
    const good = counted + socketDrops === sent && bytesWritten === 0 && qpsDisturbed === 0;
    return good ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
