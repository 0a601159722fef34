// The request handler of the worker tests: the method says what becomes of the request, or the
// worker.
import { threadId } from 'node:worker_threads';
import { loadAddon } from '../../dist/native/load.js';

/** `method` of a request; 0 echoes. */
export const Method = {
  whoAreYou: 1,
  hang: 2,
  exit: 3,
  throwLater: 4,
  exhaust: 5,
  fail: 6,
  spin: 7,
  closeSession: 8,
  region: 9,
  long: 10,
  watch: 11,
  watched: 12,
};

const held = [];
const immediates = [];

function describe(session) {
  const { id, name, worker, region, remoteAddress } = session;
  const subject = session.certificate?.subject.CN;
  const affinity = loadAddon().affinity();
  return Buffer.from(
    JSON.stringify({
      id,
      name,
      worker,
      threadId,
      remoteAddress,
      regionBytes: region.length,
      affinity,
      subject,
    }),
  );
}

export default function handle({ payload, method, session, signal }) {
  switch (method) {
    case Method.whoAreYou:
      return describe(session);
    case Method.hang:
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
    case Method.exit:
      return process.exit(3);
    case Method.throwLater:
      setImmediate(() => {
        throw new Error('nobody catches this');
      });
      return new Promise(() => undefined);
    case Method.exhaust:
      for (;;) held.push(new Array(10_000).fill(held.length));
    case Method.fail:
      throw new Error('this handler fails');
    case Method.spin:
      for (;;);
    case Method.closeSession:
      void session.close();
      return payload;
    case Method.region:
      return Buffer.from(session.region.subarray(0, 8));
    case Method.watch:
      session.on('immediate', (value) => immediates.push(value));
      return undefined;
    case Method.watched:
      return Buffer.from(JSON.stringify(immediates));
    case Method.long:
      return new Uint8Array(4000);
    default:
      return payload;
  }
}
