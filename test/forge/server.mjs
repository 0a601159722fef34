// The server that forged packets are aimed at: says what its sessions' memory holds when asked.
import { createServer } from '../../dist/index.js';

const { cert, key } = JSON.parse(process.argv[2]);
const server = await createServer({
  device: 'soft',
  cert,
  key,
  cpuThresholdPercent: 100,
  handler: ({ payload }) => payload,
});

/** Bytes of all regions that are not what their clients wrote. */
function foreignBytes(pattern) {
  const regions = server.sessions().map(({ region }) => region);
  const differing = (region) => region.filter((byte, at) => byte !== pattern[at % pattern.length]);
  return regions.reduce((sum, region) => sum + differing(region).length, 0);
}

process.on('message', async (message) => {
  if (message.pattern !== undefined) {
    const sessions = server.sessions().length;
    process.send({ foreignBytes: foreignBytes(message.pattern), sessions });
  } else {
    await server.close();
    process.disconnect();
  }
});
process.send({ port: server.address().port });
