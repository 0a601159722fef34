// One peer's server: echoes, and answers a mebibyte with eight bytes. Told by messages.
import { peers } from './peers.mjs';

const MEBIBYTE = 2 ** 20;
const receipt = new Uint8Array(8);
const answer = (payload) => (payload.length >= MEBIBYTE ? receipt : payload);

process.once('message', async ({ peer, certificate }) => {
  process.send({ port: await peers[peer].serve(answer, certificate) });
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send({ cpuSeconds: (user + system) / 1e6 });
  });
});
process.on('disconnect', () => process.exit(0));
