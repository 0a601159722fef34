// The server of the overload benchmark: its handler takes a known time of one resource, so that it
// is known how much it can serve.
import { createServer, startAdmin } from '../../dist/index.js';

/**
 * One worker who takes `serviceMs` for each request, in the order in which they come: a database, a
 * disk, a remote service. Its time does not depend on how late timers are.
 */
function station(serviceMs) {
  const due = [];
  let freeAtMs = 0;
  let timer;
  const finish = () => {
    timer = undefined;
    while (due.length > 0 && due[0].atMs <= performance.now()) due.shift().resolve();
    arm();
  };
  const arm = () => {
    if (timer !== undefined || due.length === 0) return;
    timer = setTimeout(finish, Math.max(0, due[0].atMs - performance.now()));
  };
  return () =>
    new Promise((resolve) => {
      freeAtMs = Math.max(performance.now(), freeAtMs) + serviceMs;
      due.push({ atMs: freeAtMs, resolve });
      arm();
    });
}

process.once('message', async ({ capacity, ...options }) => {
  const serve = station(1000 / capacity);
  const server = await createServer({
    ...options,
    // Handlers of requests that clients gave up must not look like ones that never end.
    requestTimeoutMs: 30_000,
    async handler({ payload }) {
      await serve();
      return payload;
    },
  });
  const admin = await startAdmin(server);
  process.once('message', async () => {
    await server.close();
    process.exit(0);
  });
  process.send({ port: server.address().port, adminUrl: admin.url });
});
