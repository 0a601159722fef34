// One end of an interoperation test: a process that serves or connects as it is told, and compares
// every byte and counter.
import { strict as assert } from 'node:assert';
import { randomFillSync } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { connectWith } from '../../dist/client/connect.js';
import { loadAddon } from '../../dist/native/load.js';
import { createServerWith } from '../../dist/server/server.js';

/** What a request's method asks for; 0 is an echo. */
const Ask = { regionChecksum: 1, immediates: 2 };
/** Bytes around what is written, which must stay as they are; the first eight hold the counter. */
const MARGIN = 64;
const COUNTS = 16;
/** Longer writes go in pieces; the last one carries the immediate. */
const PIECE = 256 * 1024;

const limits = {
  handshakeTimeoutMs: 60_000,
  requestTimeoutMs: 120_000,
  rendezvousTimeoutMs: 120_000,
  closeTimeoutMs: 30_000,
};

/** Packet sequence numbers from `first` on. */
function psnsFrom(first) {
  let next = first;
  return () => next++ % 2 ** 24;
}

let server;

async function serve({ psn, bytes, ...options }) {
  const immediates = [];
  server = await createServerWith(
    {
      ...options,
      ...limits,
      regionBytes: bytes + 2 * MARGIN,
      handler({ payload, method, session }) {
        if (method === Ask.regionChecksum) return Buffer.from(String(crc32(session.region)));
        if (method === Ask.immediates) return Buffer.from(JSON.stringify(immediates));
        return payload;
      },
    },
    { psnSource: psnsFrom(psn) },
  );
  server.on('session', (session) => {
    session.on('immediate', (value, byteLength) => immediates.push([value, byteLength]));
  });
  return server.address().port;
}

async function stopServing() {
  await server.close();
  const { traffic, ended } = server.stats();
  return { traffic, ended, live: loadAddon().liveObjects() };
}

async function ask(connection, method) {
  const answer = await connection.request(new Uint8Array(0), { method });
  return JSON.parse(Buffer.from(answer).toString());
}

function expectSame(found, wanted, what) {
  if (Buffer.compare(found, wanted) === 0) return;
  const at = wanted.findIndex((byte, index) => byte !== found[index]);
  throw new Error(`${what}: ${found.length} bytes for ${wanted.length}, different from ${at} on`);
}

/** Writes with and without an immediate, reads back, and has the server look at all of it. */
async function useRegion(connection, bytes) {
  const mirror = Buffer.alloc(bytes + 2 * MARGIN);
  const inside = mirror.subarray(MARGIN, MARGIN + bytes);
  const check = async (what) => {
    assert.equal(await ask(connection, Ask.regionChecksum), crc32(mirror), `region after ${what}`);
  };
  randomFillSync(inside);
  await connection.write(MARGIN, inside);
  await check('a write');
  expectSame(await connection.read(MARGIN, bytes), inside, 'a read');
  randomFillSync(inside);
  await connection.write(MARGIN, inside, { immediate: bytes });
  await check('a write with an immediate');
  const lastPiece = bytes - Math.floor((bytes - 1) / PIECE) * PIECE;
  assert.deepEqual(await ask(connection, Ask.immediates), [[bytes, lastPiece]]);
}

async function count(connection) {
  const before = Array.from({ length: COUNTS }, () => connection.fetchAdd(0, 3n));
  assert.deepEqual(
    await Promise.all(before),
    before.map((_, index) => BigInt(3 * index)),
  );
  const sum = BigInt(3 * COUNTS);
  assert.equal(await connection.compareSwap(0, sum + 1n, 1n), sum, 'a swap that must not happen');
  assert.equal(await connection.compareSwap(0, sum, 2n ** 64n - 1n), sum, 'a swap');
  assert.equal(await connection.fetchAdd(0, 1n), 2n ** 64n - 1n, 'an addition that wraps');
  expectSame(await connection.read(0, 8), Buffer.alloc(8), 'the counter');
}

async function echo(connection, bytes) {
  const payloads = Array.from({ length: bytes < 100_000 ? COUNTS : 1 }, () =>
    randomFillSync(Buffer.alloc(bytes)),
  );
  const answers = await Promise.all(payloads.map((payload) => connection.request(payload)));
  answers.forEach((answer, index) => expectSame(answer, payloads[index], `echo ${index}`));
}

async function use({ psn, bytes, ...options }) {
  const connection = await connectWith({ ...options, ...limits }, psnsFrom(psn));
  await echo(connection, bytes);
  await useRegion(connection, bytes);
  await count(connection);
  const { localPsn, remotePsn, traffic } = connection;
  await connection.close();
  return { localPsn, remotePsn, traffic: { ...traffic }, live: loadAddon().liveObjects() };
}

const orders = { serve, stopServing, use };

process.on('message', async ({ order, environment = {}, options = {} }) => {
  Object.assign(process.env, environment);
  try {
    process.send({ result: await orders[order](options) });
  } catch (error) {
    process.send({ error: `${order}: ${error.stack}` });
  }
});
