// Frames survive any split of the stream, and nothing oversized is kept.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  FIRST_FRAME_BYTES,
  FrameReader,
  MAX_FRAME_BYTES,
  encodeFrame,
} from '../../../src/handshake/frame.js';

function split(stream: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const positions = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort(
    (a, b) => a - b,
  );
  const chunks: Uint8Array[] = [];
  let from = 0;
  for (const to of [...positions, stream.length]) {
    chunks.push(stream.subarray(from, to));
    from = to;
  }
  return chunks;
}

function readAll(reader: FrameReader, chunks: readonly Uint8Array[]): Buffer[] {
  const frames: Buffer[] = [];
  for (const chunk of chunks) {
    reader.push(chunk, (body) => {
      frames.push(body);
      return true;
    });
  }
  return frames;
}

describe('FrameReader', () => {
  it('returns the same frames however the stream is cut', () => {
    const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 8 });
    fc.assert(
      fc.property(bodies, fc.array(fc.nat(), { maxLength: 40 }), (frames, cuts) => {
        const stream = Buffer.concat(frames.map((body) => encodeFrame(body)));
        const reader = new FrameReader(MAX_FRAME_BYTES);
        const read = readAll(reader, split(stream, cuts));
        expect(read).toEqual(frames.map((body) => Buffer.from(body)));
        expect(reader.isIdle).toBe(true);
      }),
    );
  });

  it('returns frames that arrive byte by byte', () => {
    const stream = Buffer.concat([
      encodeFrame(Buffer.from('one')),
      encodeFrame(Buffer.from('two')),
    ]);
    const reader = new FrameReader(MAX_FRAME_BYTES);
    const read = readAll(
      reader,
      [...stream].map((byte) => Uint8Array.of(byte)),
    );
    expect(read.map(String)).toEqual(['one', 'two']);
  });

  it('is not idle in the middle of a frame', () => {
    const frame = encodeFrame(Buffer.from('body'));
    for (let cut = 1; cut < frame.length; cut++) {
      const reader = new FrameReader(MAX_FRAME_BYTES);
      readAll(reader, [frame.subarray(0, cut)]);
      expect(reader.isIdle).toBe(false);
    }
  });

  it('accepts the largest frame and refuses one byte more before any of it has come', () => {
    const reader = new FrameReader(FIRST_FRAME_BYTES);
    const largest = encodeFrame(Buffer.alloc(FIRST_FRAME_BYTES, 1));
    expect(readAll(reader, [largest])[0]).toHaveLength(FIRST_FRAME_BYTES);
    const header = Buffer.alloc(4);
    header.writeUInt32BE(FIRST_FRAME_BYTES + 1);
    expect(() => readAll(reader, [header])).toThrow(
      expect.objectContaining({ code: 'ERR_VERBENA_FRAME_TOO_LARGE' }),
    );
  });

  it('refuses a length of 4 GiB', () => {
    const reader = new FrameReader(MAX_FRAME_BYTES);
    expect(() => readAll(reader, [Buffer.from([0xff, 0xff, 0xff, 0xff])])).toThrow(
      expect.objectContaining({ code: 'ERR_VERBENA_FRAME_TOO_LARGE' }),
    );
  });

  it('refuses an empty frame', () => {
    const reader = new FrameReader(MAX_FRAME_BYTES);
    expect(() => readAll(reader, [Buffer.alloc(4)])).toThrow(
      expect.objectContaining({ code: 'ERR_VERBENA_MALFORMED_FRAME' }),
    );
  });

  it('grows with its limit between frames', () => {
    const reader = new FrameReader(FIRST_FRAME_BYTES);
    readAll(reader, [encodeFrame(Buffer.from('hello'))]);
    reader.maxBytes = MAX_FRAME_BYTES;
    const large = encodeFrame(Buffer.alloc(MAX_FRAME_BYTES, 2));
    expect(readAll(reader, [large])[0]).toHaveLength(MAX_FRAME_BYTES);
  });

  it('stops when told to, and drops the rest of the chunk', () => {
    const stream = Buffer.concat([
      encodeFrame(Buffer.from('one')),
      encodeFrame(Buffer.from('two')),
    ]);
    const frames: string[] = [];
    new FrameReader(MAX_FRAME_BYTES).push(stream, (body) => {
      frames.push(String(body));
      return false;
    });
    expect(frames).toEqual(['one']);
  });
});

describe('encodeFrame', () => {
  it('refuses a body over the limit', () => {
    expect(() => encodeFrame(Buffer.alloc(MAX_FRAME_BYTES + 1))).toThrow(
      expect.objectContaining({ code: 'ERR_VERBENA_FRAME_TOO_LARGE' }),
    );
  });
});
