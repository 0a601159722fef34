// One-sided operations from JavaScript, in memory that was allocated for them: four at a time on one
// connection, the server in a process of its own.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { makeDevCertificate } from '../../dist/cli/dev-certificate.js';
import { allocate, connect, createServer } from '../../dist/index.js';

const DEPTH = 4;

if (process.argv[2] === 'server') {
  process.once('message', async ({ cert, key, regionBytes }) => {
    const handler = () => undefined;
    const server = await createServer({ device: 'soft', cert, key, regionBytes, handler });
    process.send(server.address().port);
  });
  process.on('disconnect', () => process.exit(0));
}

/** `{ bytesPerSecond }` of `operation`, `read` or `write`. */
export async function oneSided(operation, bytes, seconds) {
  const { ca, cert, key } = await makeDevCertificate();
  const child = fork(fileURLToPath(import.meta.url), ['server']);
  child.send({ cert, key, regionBytes: bytes });
  const [port] = await once(child, 'message');
  const connection = await connect({ device: 'soft', host: '127.0.0.1', port, ca });
  const act = (memory) =>
    operation === 'read'
      ? connection.read(0, bytes, { into: memory })
      : connection.write(0, memory);
  const memories = Array.from({ length: DEPTH }, () => allocate(bytes));
  const rate = async (duration) => {
    let count = 0;
    const started = performance.now();
    const end = started + duration * 1000;
    const stream = async (memory) => {
      for (; performance.now() < end; count++) await act(memory);
    };
    await Promise.all(memories.map(stream));
    return (count * bytes * 1000) / (performance.now() - started);
  };
  await rate(seconds / 4); // warms up
  const bytesPerSecond = await rate(seconds);
  await connection.close();
  child.disconnect();
  await once(child, 'exit');
  return { bytesPerSecond };
}
