// A server process that echoes, prints its port, and is killed by its own hand at a request.
import { readFileSync } from 'node:fs';
import { createServer } from '../../dist/index.js';

const [, , device, certFile, keyFile, lastRequest] = process.argv;
let requests = 0;
const server = await createServer({
  device,
  cert: readFileSync(certFile, 'utf8'),
  key: readFileSync(keyFile, 'utf8'),
  handler: ({ payload }) => {
    requests += 1;
    if (requests === Number(lastRequest)) process.kill(process.pid, 'SIGKILL');
    return payload;
  },
});
process.stdout.write(`port ${server.address().port}\n`);
