// Requests over a byte stream, as well as plain JavaScript does them: frames of length, request id and
// payload, a promise for each request, and one write for all that one tick sends.
const HEADER_BYTES = 8;
/** Larger payloads are written and read without a copy between. */
const LARGE_BYTES = 16 * 1024;
const BUFFER_BYTES = 64 * 1024;

/** Gathers the frames of one tick. */
class FrameWriter {
  #socket;
  #spare = [];
  #buffer;
  #used = 0;

  constructor(socket) {
    this.#socket = socket;
  }

  send(id, payload) {
    if (payload.length >= LARGE_BYTES) {
      this.#sendLarge(id, payload);
      return;
    }
    if (this.#used + HEADER_BYTES + payload.length > BUFFER_BYTES) this.#flush();
    if (this.#used === 0) {
      this.#buffer = this.#spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
      process.nextTick(this.#flush);
    }
    this.#writeHeader(id, payload.length);
    this.#buffer.set(payload, this.#used);
    this.#used += payload.length;
  }

  #writeHeader(id, length) {
    this.#buffer.writeUInt32LE(length, this.#used);
    this.#buffer.writeUInt32LE(id, this.#used + 4);
    this.#used += HEADER_BYTES;
  }

  #sendLarge(id, payload) {
    this.#flush();
    const header = Buffer.allocUnsafe(HEADER_BYTES);
    header.writeUInt32LE(payload.length, 0);
    header.writeUInt32LE(id, 4);
    this.#socket.cork();
    this.#socket.write(header);
    this.#socket.write(payload);
    this.#socket.uncork();
  }

  #flush = () => {
    if (this.#used === 0) return;
    const buffer = this.#buffer;
    this.#socket.write(buffer.subarray(0, this.#used), () => this.#spare.push(buffer));
    this.#used = 0;
  };
}

/** A listener for 'data' that calls `onFrame(id, payload)`; the payload is good until it returns. */
function frameReader(onFrame) {
  let rest;
  let large;
  let largeId = 0;
  let filled = 0;
  return (received) => {
    let chunk = rest === undefined ? received : Buffer.concat([rest, received]);
    rest = undefined;
    let at = 0;
    if (large !== undefined) {
      at = chunk.copy(large, filled);
      filled += at;
      if (filled < large.length) return;
      const whole = large;
      large = undefined;
      onFrame(largeId, whole);
    }
    while (chunk.length - at >= HEADER_BYTES) {
      const length = chunk.readUInt32LE(at);
      const id = chunk.readUInt32LE(at + 4);
      const start = at + HEADER_BYTES;
      if (chunk.length - start < length) {
        if (length < LARGE_BYTES) break;
        large = Buffer.allocUnsafe(length);
        largeId = id;
        filled = chunk.copy(large, 0, start);
        return;
      }
      onFrame(id, chunk.subarray(start, start + length));
      at = start + length;
    }
    if (at < chunk.length) rest = chunk.subarray(at);
  };
}

/** Answers each frame with `answer(payload)`. */
export function serveFrames(socket, answer) {
  socket.setNoDelay(true);
  socket.on('error', () => undefined);
  const writer = new FrameWriter(socket);
  socket.on(
    'data',
    frameReader((id, payload) => writer.send(id, answer(payload))),
  );
}

/** A client over a connected socket. */
export function frameClient(socket) {
  socket.setNoDelay(true);
  const writer = new FrameWriter(socket);
  const pending = new Map();
  let next = 0;
  socket.on(
    'data',
    frameReader((id, payload) => {
      pending.get(id)(payload);
      pending.delete(id);
    }),
  );
  return {
    request: (payload) =>
      new Promise((resolve) => {
        const id = next++ >>> 0;
        pending.set(id, resolve);
        writer.send(id, payload);
      }),
    close: () => socket.destroy(),
  };
}
