// Frames of the control channel: a 4-byte big-endian length, then that many bytes of JSON in UTF-8.
import { VerbenaError } from '../errors.js';

const LENGTH_BYTES = 4;
/** Until `hello` is accepted, so that a stranger cannot make the server hold much. */
export const FIRST_FRAME_BYTES = 4 * 1024;
export const MAX_FRAME_BYTES = 16 * 1024;

/** The frame of a body; throws ERR_VERBENA_FRAME_TOO_LARGE. */
export function encodeFrame(body: Uint8Array): Buffer {
  if (body.length > MAX_FRAME_BYTES) {
    throw new VerbenaError(
      'ERR_VERBENA_FRAME_TOO_LARGE',
      `a control message of ${body.length} bytes exceeds the ${MAX_FRAME_BYTES} bytes of a frame`,
    );
  }
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + body.length);
  frame.writeUInt32BE(body.length, 0);
  frame.set(body, LENGTH_BYTES);
  return frame;
}

/** Cuts a byte stream into frames, whatever the chunks it arrives in. Holds at most one frame. */
export class FrameReader {
  /** The length as far as it is read, and how many bytes of it that is. */
  #length = 0;
  #headerBytes = 0;
  #body: Buffer | undefined;
  #bodyBytes = 0;

  /** Longest body accepted; applies from the next length on. */
  maxBytes: number;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** True between frames. */
  get isIdle(): boolean {
    return this.#headerBytes === 0 && this.#body === undefined;
  }

  /**
   * Calls `onFrame` with each complete body; it returns false to stop, which drops the rest of the
   * chunk. A length of 0 throws ERR_VERBENA_MALFORMED_FRAME, one past `maxBytes`
   * ERR_VERBENA_FRAME_TOO_LARGE, before a byte of it is kept.
   */
  push(chunk: Uint8Array, onFrame: (body: Buffer) => boolean): void {
    let at = 0;
    while (at < chunk.length) {
      at += this.#body === undefined ? this.#readHeader(chunk, at) : this.#readBody(chunk, at);
      if (this.#body === undefined || this.#bodyBytes < this.#body.length) continue;
      const body = this.#body;
      this.#body = undefined;
      if (!onFrame(body)) return;
    }
  }

  #readHeader(chunk: Uint8Array, at: number): number {
    const taken = Math.min(LENGTH_BYTES - this.#headerBytes, chunk.length - at);
    for (const byte of chunk.subarray(at, at + taken)) this.#length = this.#length * 256 + byte;
    this.#headerBytes += taken;
    if (this.#headerBytes === LENGTH_BYTES) this.#startBody(this.#length);
    return taken;
  }

  #startBody(length: number): void {
    if (length === 0) {
      throw new VerbenaError('ERR_VERBENA_MALFORMED_FRAME', 'a frame has no body');
    }
    if (length > this.maxBytes) {
      throw new VerbenaError(
        'ERR_VERBENA_FRAME_TOO_LARGE',
        `a frame announces ${length} bytes; at most ${this.maxBytes} are accepted here`,
      );
    }
    this.#headerBytes = 0;
    this.#length = 0;
    this.#body = Buffer.alloc(length);
    this.#bodyBytes = 0;
  }

  #readBody(chunk: Uint8Array, at: number): number {
    const body = this.#body as Buffer;
    const taken = Math.min(body.length - this.#bodyBytes, chunk.length - at);
    body.set(chunk.subarray(at, at + taken), this.#bodyBytes);
    this.#bodyBytes += taken;
    return taken;
  }
}
