// Runs one of perftest's programs against itself and reads the last line of its table.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { root } from '../../scripts/lib/run.mjs';

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function start([program, ...args], env) {
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 2],
  });
  child.text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => (child.text += chunk));
  return child;
}

/** The server listens when its port can be connected to; so the client asks until it is let in. */
async function runPair(command, env) {
  const all = [...command, '-p', String(await freePort())];
  const server = start(all, env);
  for (;;) {
    const client = start([...all, '127.0.0.1'], env);
    const [code] = await once(client, 'close');
    if (code === 0) {
      if (server.exitCode === null) await once(server, 'exit');
      return client.text;
    }
    if (server.exitCode !== null) throw new Error(`${all.join(' ')}: ${server.text}`);
  }
}

/** `{ latencyUs }` of a latency test, `{ bytesPerSecond, messagesPerSecond }` of the others. */
function figuresOf(tool, text) {
  const row = text.split('\n').findLast((line) => /^ *\d+ +\d+ /.test(line));
  if (row === undefined) throw new Error(`${tool} printed no result: ${text}`);
  const cells = row.trim().split(/\s+/).map(Number);
  if (tool.endsWith('_lat')) return { latencyUs: cells[4] };
  return { bytesPerSecond: cells[3] * 2 ** 20, messagesPerSecond: cells[4] * 1e6 };
}

/** Runs `tool` with messages of so many bytes on a device; `within` is put before its command. */
export async function perftest(tool, bytes, iterations, place) {
  const { device, gidIndex, within = [], env = {} } = place;
  const args = ['-F', '-d', device, '-x', gidIndex, '-s', bytes, '-n', iterations].map(String);
  return figuresOf(tool, await runPair([...within, tool, ...args], env));
}

/** The same on the soft device. */
export function softTool(tool, bytes, iterations, within) {
  const env = { LD_PRELOAD: join(root, 'build', 'Release', 'libverbena-soft.so') };
  return perftest(tool, bytes, iterations, { device: 'soft0', gidIndex: 0, within, env });
}
