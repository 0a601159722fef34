// The server of the fairness benchmark: it echoes, or never answers; told by messages.
import { createServer } from '../../dist/index.js';

/** Method of a request whose handler never ends. */
const NEVER = 1;
const forever = new Promise(() => undefined);

process.once('message', async ({ device, cert, key, regionBytes }) => {
  const server = await createServer({
    device,
    cert,
    key,
    regionBytes,
    requestTimeoutMs: 500,
    rendezvousTimeoutMs: 1000,
    // It is to run flat out.
    cpuThresholdPercent: 100,
    handler: ({ payload, method }) => (method === NEVER ? forever : payload),
  });
  process.send({ port: server.address().port });
  process.on('message', async (question) => {
    if (question === 'ended') {
      process.send(server.stats().ended);
      return;
    }
    await server.close();
    process.exit(0);
  });
});
