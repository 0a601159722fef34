// A server process: echoes, and prints its port; method 1 never answers. SIGTERM closes it.
import { readFileSync } from 'node:fs';
import { createServer } from '../../dist/index.js';

const [, , device, certFile, keyFile, keepaliveSec] = process.argv;
const server = await createServer({
  device,
  cert: readFileSync(certFile, 'utf8'),
  key: readFileSync(keyFile, 'utf8'),
  keepaliveSec: Number(keepaliveSec),
  cpuThresholdPercent: 100,
  handler: ({ payload, method }) => (method === 1 ? new Promise(() => undefined) : payload),
});
process.once('SIGTERM', () => void server.close());
process.stdout.write(`port ${server.address().port}\n`);
