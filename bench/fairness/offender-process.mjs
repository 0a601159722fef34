// One client of the fairness benchmark that takes what it can get, in the way that it is told. When it
// is closed it comes back, after a moment: what connecting costs is not the subject.
import { once, setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { establishWith } from '../../dist/client/connect.js';
import { Credits } from '../../dist/connection/credits.js';
import { MessageType } from '../../dist/connection/header.js';
import { connect } from '../../dist/index.js';

const BIG_BYTES = 8 * 1024 * 1024;
const NEVER = 1;
const COMES_BACK_AFTER_MS = 100;

let options;
/** Aborted when it is to behave again. */
let stop;

/** Keeps `depth` of the same operation under way until the connection ends or it is enough. */
async function repeat(operation, depth) {
  const { signal } = stop;
  const connection = await connect(options);
  const closed = once(connection, 'close');
  const stream = async () => {
    while (connection.isOpen && !signal.aborted) await operation(connection).catch(() => undefined);
  };
  await Promise.race([closed, Promise.all(Array.from({ length: depth }, stream))]);
  await connection.close();
}

/** Fills every SEND that there is credit for with requests, until it is closed or it is enough. */
async function pour() {
  const { signal } = stop;
  const { endpoint, channel, undo } = await establishWith(options);
  let id = 0;
  const fill = () => {
    while (endpoint.sender.tryAppend(MessageType.request, 0, id++, 0, undefined));
    endpoint.sender.flush();
  };
  const nothing = () => undefined;
  endpoint.user = {
    onMessage: nothing,
    onImmediate: nothing,
    onWritable: fill,
    onFailure: nothing,
  };
  endpoint.schedule();
  signal.addEventListener('abort', () => channel.socket.destroy());
  await once(channel.socket, 'close');
  await undo.run();
}

/** Takes answers and returns no credit for them, for good. */
function keepCredits() {
  Credits.prototype.takeOwed = () => 0;
  Object.defineProperty(Credits.prototype, 'mustReturn', { get: () => false });
  Credits.prototype.owe = () => true;
}

const small = new Uint8Array(64);
const big = new Uint8Array(BIG_BYTES);

const ways = {
  /** No offender: one more client like the others. */
  equal: () => repeat((connection) => connection.request(small), 16),
  /** As many requests as are allowed. */
  busy: () => repeat((connection) => connection.request(small), 100),
  /** More requests than are allowed. */
  flood: pour,
  'no credits': () => {
    keepCredits();
    return pour();
  },
  /** RDMA READs of its whole region. */
  reads: () => repeat((connection) => connection.read(0, connection.regionLength), 16),
  /** Large payloads each way. */
  rendezvous: () => repeat((connection) => connection.request(big), 4),
  /** Requests whose handlers never end. */
  handlers: () => repeat((connection) => connection.request(small, { method: NEVER }), 200),
};

async function offend(way) {
  const { signal } = stop;
  while (!signal.aborted) {
    await ways[way]().catch((error) => console.error(`offender: ${error.code ?? error.message}`));
    if (!signal.aborted) await delay(COMES_BACK_AFTER_MS);
  }
  process.send({});
}

process.on('message', ({ way, ...given }) => {
  if (way === undefined) {
    stop.abort();
    return;
  }
  options = { host: '127.0.0.1', ...given };
  stop = new AbortController();
  setMaxListeners(0, stop.signal);
  void offend(way);
});
process.on('disconnect', () => process.exit(0));
