// The request handler of the worker tests: the method says what becomes of the request, or the
// worker.
import { threadId } from 'node:worker_threads';

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
};

const held = [];

function describe(session) {
  const { id, name, worker, region, remoteAddress } = session;
  const subject = session.certificate?.subject.CN;
  return Buffer.from(
    JSON.stringify({
      id,
      name,
      worker,
      threadId,
      remoteAddress,
      regionBytes: region.length,
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
    case Method.long:
      return new Uint8Array(4000);
    default:
      return payload;
  }
}
