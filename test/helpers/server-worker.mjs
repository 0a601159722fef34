// A worker thread with a server of its own; ends when told to, and says what is left then.
import { parentPort, workerData } from 'node:worker_threads';
import { createServer } from '../../dist/index.js';
import { loadAddon } from '../../dist/native/load.js';

const server = await createServer({
  ...workerData,
  handler: ({ payload }) => payload,
});
parentPort.postMessage({ port: server.address().port });
parentPort.once('message', async (how) => {
  if (how === 'exit') process.exit(0);
  await server.close();
  parentPort.postMessage(loadAddon().liveObjects());
});
