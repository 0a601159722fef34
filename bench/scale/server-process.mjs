// One server of the scale benchmark: Verbena, or bare TLS that answers one line; told by messages.
import { createServer as createTlsServer } from 'node:tls';
import { createServer } from '../../dist/index.js';
import { usageNow } from '../../dist/stress/usage.js';
import { spent } from '../lib/processes.mjs';

async function startVerbena({ device, cert, key, clients }) {
  const server = await createServer({
    device,
    cert,
    key,
    maxConnections: clients + 1,
    keepaliveSec: 600,
    handshakeTimeoutMs: 60_000,
    requestTimeoutMs: 60_000,
    queueSize: 1_000_000,
    // It is to run flat out.
    cpuThresholdPercent: 100,
    handler: ({ payload }) => payload,
  });
  return {
    port: server.address().port,
    connected: () => server.stats().connections,
    counts: () => {
      const { sessions, registeredBytes } = server.snapshot();
      const psns = sessions.flatMap(({ localPsn, remotePsn }) => [localPsn, remotePsn]);
      return {
        connected: sessions.length,
        refused: Object.values(server.stats().refused).reduce((sum, count) => sum + count, 0),
        uniquePsns: new Set(psns).size,
        registeredBytes,
      };
    },
    close: () => server.close(),
  };
}

async function startTls({ cert, key }) {
  const sockets = new Set();
  const server = createTlsServer(
    { cert, key, minVersion: 'TLSv1.3', ALPNProtocols: ['verbena/1'] },
    (socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
      socket.once('data', (line) => socket.write(line));
    },
  );
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: server.address().port,
    connected: () => sockets.size,
    counts: () => ({ connected: sockets.size }),
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Several times, with turns of the loop between: finalizers let go of more. */
async function collectGarbage() {
  for (let round = 0; round < 4; round++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

process.once('message', async (settings) => {
  const begin = settings.kind === 'tls' ? startTls : startVerbena;
  const { port, connected, counts, close } = await begin(settings);
  process.send({ port });
  process.on('message', async (question) => {
    if (question === 'close') {
      await close();
      process.exit(0);
    }
    if (question === 'cpu') {
      process.send(spent());
      return;
    }
    if (question === 'connected') {
      process.send(connected());
      return;
    }
    if (question === 'usage') {
      process.send({ ...(await usageNow()), ...counts() });
      return;
    }
    await collectGarbage();
    // Before anything is made for the answer.
    const { rss, heapUsed } = process.memoryUsage();
    process.send({ rssBytes: rss, heapBytes: heapUsed, ...counts() });
  });
});
process.on('disconnect', () => process.exit(0));
