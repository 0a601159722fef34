// The honest clients of the server under attack: fill their regions, and say later who still works.
import { connect } from '../../dist/index.js';

const { port, ca, count, pattern } = JSON.parse(process.argv[2]);
const connections = await Promise.all(
  Array.from({ length: count }, () => connect({ device: 'soft', host: '127.0.0.1', port, ca })),
);

async function fill(connection) {
  const bytes = Uint8Array.from(
    { length: connection.regionLength },
    (_, at) => pattern[at % pattern.length],
  );
  await connection.write(0, bytes);
  // The last that the capture shows: its sequence number, key and address are what a forger wants.
  await connection.write(0, bytes.subarray(0, 8));
}

async function works(connection) {
  const echoed = await connection.request(Uint8Array.of(1, 2, 3));
  const read = await connection.read(0, connection.regionLength);
  const same = read.every((byte, at) => byte === pattern[at % pattern.length]);
  return Buffer.compare(Buffer.from(echoed), Buffer.of(1, 2, 3)) === 0 && same;
}

process.on('message', async () => {
  const results = await Promise.all(
    connections.map((connection) => works(connection).catch(() => false)),
  );
  process.send({ disturbed: results.filter((good) => !good).length });
  await Promise.all(connections.map((connection) => connection.close()));
  process.disconnect();
});
await Promise.all(connections.map(fill));
process.send({ regionBytes: connections[0].regionLength });
