// The message header: read back as written, and refused when anything in it is impossible.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ERROR_HAS_RETRY_AFTER,
  HEADER_BYTES,
  MessageType,
  OFFER_BYTES,
  OFFER_IS_RESPONSE,
  TIMED,
  decodeOffer,
  emptyHeader,
  encodeErrorBody,
  encodeOffer,
  readHeader,
  writeCredits,
  writeHeader,
} from '../../../src/connection/header.js';

const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const types = Object.values(MessageType);

describe('readHeader', () => {
  it('reads back what was written, at any place', () => {
    const fields = fc.record({
      type: fc.constantFrom(...types),
      credits: fc.integer({ min: 0, max: 0xffff }),
      id: uint32,
      length: fc.nat(1000),
      word: uint32,
    });
    fc.assert(
      fc.property(fields, fc.nat(100), fc.nat(100), (written, at, extra) => {
        const end = at + HEADER_BYTES + written.length + extra;
        const view = new DataView(new ArrayBuffer(end));
        writeHeader(view, at, written.type, 0, written.id, written.length, written.word);
        writeCredits(view, at, written.credits);
        const header = emptyHeader();
        expect(readHeader(view, at, end, header)).toBeUndefined();
        expect(header).toEqual({ ...written, flags: 0 });
      }),
    );
  });

  it('lays the fields out in little-endian order', () => {
    const view = new DataView(new ArrayBuffer(HEADER_BYTES));
    writeHeader(view, 0, MessageType.request, 0, 0x0403_0201, 0, 0x0807_0605);
    writeCredits(view, 0, 0x0201);
    expect([...new Uint8Array(view.buffer)]).toEqual([
      2, 0, 1, 2, 1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8,
    ]);
  });

  it('never announces more than arrived, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(64), (bytes, start) => {
        const at = Math.min(start, bytes.length);
        const header = emptyHeader();
        const view = new DataView(bytes.buffer);
        const wrong = readHeader(view, at, bytes.length, header);
        if (wrong !== undefined) return;
        expect(types).toContain(header.type);
        expect(at + HEADER_BYTES + header.length).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });

  it.each([
    ['fifteen bytes', MessageType.request, 0, 0, HEADER_BYTES - 1],
    ['type 0', 0, 0, 0, HEADER_BYTES],
    ['the reserved type', 7, 0, 0, HEADER_BYTES],
    ['a type past the last', 10, 0, 0, HEADER_BYTES],
    ['a flag of a request', MessageType.request, 1, 0, HEADER_BYTES],
    ['an unknown flag of an error', MessageType.error, 2, 0, HEADER_BYTES],
    ['an unknown flag of an offer', MessageType.rendezvous, 4, 0, HEADER_BYTES],
    ['one byte too many', MessageType.request, 0, 1, HEADER_BYTES],
    ['a length of 4 GiB', MessageType.request, 0, 0xffff_ffff, HEADER_BYTES],
  ])('refuses %s', (_, type, flags, length, end) => {
    const view = new DataView(new ArrayBuffer(HEADER_BYTES));
    writeHeader(view, 0, type, flags, 1, length, 0);
    expect(readHeader(view, 0, end, emptyHeader())).toBeTypeOf('string');
  });

  it.each([
    [MessageType.rendezvous, OFFER_IS_RESPONSE],
    [MessageType.rendezvous, OFFER_IS_RESPONSE | TIMED],
    [MessageType.request, TIMED],
    [MessageType.response, TIMED],
  ])('accepts of type %i the flags %i', (type, flags) => {
    const view = new DataView(new ArrayBuffer(HEADER_BYTES));
    writeHeader(view, 0, type, flags, 1, 0, 0);
    expect(readHeader(view, 0, HEADER_BYTES, emptyHeader())).toBeUndefined();
  });
});

describe('encodeErrorBody', () => {
  it('puts the wait before the text, under a flag that is accepted', () => {
    const body = encodeErrorBody('full', 0x0403_0201, 100) ?? [];
    expect([...body]).toEqual([1, 2, 3, 4, ...Buffer.from('full')]);
    const view = new DataView(new ArrayBuffer(HEADER_BYTES));
    writeHeader(view, 0, MessageType.error, ERROR_HAS_RETRY_AFTER, 1, 0, 4);
    expect(readHeader(view, 0, HEADER_BYTES, emptyHeader())).toBeUndefined();
  });

  it('is the text alone without a wait, nothing without either, and never too long', () => {
    expect(Buffer.from(encodeErrorBody('full', undefined, 3) ?? []).toString()).toBe('ful');
    expect(encodeErrorBody('', undefined, 100)).toBeUndefined();
    expect(encodeErrorBody('full', 7, 6)).toHaveLength(6);
  });
});

describe('decodeOffer', () => {
  it('reads back what was encoded', () => {
    const offers = fc.record({ rkey: uint32, length: uint32, offset: fc.maxSafeNat() });
    fc.assert(
      fc.property(offers, (offer) => {
        const body = encodeOffer(offer);
        expect(decodeOffer(new DataView(body.buffer), 0, body.length)).toEqual(offer);
      }),
    );
  });

  it('refuses a wrong size and an offset beyond the safe integers', () => {
    const view = new DataView(new ArrayBuffer(OFFER_BYTES + 1).slice(0));
    expect(decodeOffer(view, 0, OFFER_BYTES - 1)).toBeUndefined();
    expect(decodeOffer(view, 0, OFFER_BYTES + 1)).toBeUndefined();
    view.setUint32(12, 0xffff_ffff, true);
    expect(decodeOffer(view, 0, OFFER_BYTES)).toBeUndefined();
  });
});
