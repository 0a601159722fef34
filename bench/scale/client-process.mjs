// Clients of the scale benchmark, many in one process: they connect, fill their memory at the server,
// work when told, and leave.
import { connect as tlsConnect, createSecureContext } from 'node:tls';
import { once } from 'node:events';
import { connect } from '../../dist/index.js';
import { usageNow } from '../../dist/stress/usage.js';
import { spent } from '../lib/processes.mjs';

/** An emulated machine is slow, and what is slow is measured here, not refused. */
const patience = { handshakeTimeoutMs: 60_000, requestTimeoutMs: 60_000 };

const clients = [];
let settings;

/**
 * Every slot of both rings and the whole region are touched, so that the kernel has given their pages.
 * One after the other, because requests of one tick may share a slot; small, to leave little garbage.
 */
async function touch(client) {
  const payload = new Uint8Array(1);
  for (let turn = 0; turn < 40; turn++) await client.request(payload);
  await client.write(0, new Uint8Array(client.regionLength).fill(1));
}

async function connectVerbena() {
  const { device, port, ca } = settings;
  return connect({ device, host: '127.0.0.1', port, ca, ...patience });
}

let context;
async function connectTls() {
  const { port, ca } = settings;
  context ??= createSecureContext({ ca, minVersion: 'TLSv1.3' });
  const socket = tlsConnect({
    host: '127.0.0.1',
    port,
    secureContext: context,
    ALPNProtocols: ['verbena/1'],
  });
  socket.on('error', (error) => console.error(error.message));
  await once(socket, 'secureConnect');
  socket.write('hello\n');
  await once(socket, 'data');
  return { close: () => socket.destroy() };
}

const connectOne = () => (settings.kind === 'tls' ? connectTls() : connectVerbena());

/** Runs `action` `count` times, `atOnce` at a time. */
async function repeat(count, atOnce, action) {
  let left = count;
  const worker = async () => {
    while (left-- > 0) await action();
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
}

/** `count` connections, `atOnce` at a time; microseconds of each. */
async function connectMany({ count, atOnce }) {
  const times = [];
  const failures = [];
  await repeat(count, atOnce, async () => {
    const started = performance.now();
    try {
      clients.push(await connectOne());
      times.push((performance.now() - started) * 1000);
    } catch (error) {
      failures.push(error.code ?? error.message);
    }
  });
  return { times, failures };
}

/** Requests answered in `seconds` by the first `count` clients, `depth` at a time each. */
async function work({ count, depth, seconds, bytes }) {
  const end = performance.now() + seconds * 1000;
  const payload = new Uint8Array(bytes);
  let requests = 0;
  const stream = async (client) => {
    while (performance.now() < end) {
      await client.request(payload);
      requests++;
    }
  };
  await Promise.all(
    clients
      .slice(0, count)
      .flatMap((client) => Array.from({ length: depth }, () => stream(client))),
  );
  return { requests };
}

/** Connects, asks once and leaves, `count` times, `atOnce` at a time. */
async function cycle({ count, atOnce }) {
  await repeat(count, atOnce, async () => {
    const client = await connectOne();
    await client.request?.(new Uint8Array(8));
    await client.close();
  });
  return {};
}

const commands = {
  start: (given) => {
    settings = given;
    return {};
  },
  connect: connectMany,
  touch: async () => {
    for (let at = 0; at < clients.length; at += 16)
      await Promise.all(clients.slice(at, at + 16).map(touch));
    return {};
  },
  work,
  cycle,
  /** Closes all but the first `keep`. */
  leave: async ({ keep }) => {
    await Promise.all(clients.splice(keep).map((client) => client.close()));
    return {};
  },
  usage: usageNow,
  spent,
};

process.on('message', async ({ command, ...options }) => {
  process.send(await commands[command](options));
});
process.on('disconnect', () => process.exit(0));
