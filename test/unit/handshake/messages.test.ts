// Control messages: every field is checked, every refusal has its code, and unknown fields do no
// harm.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VerbenaError, errorCodes } from '../../../src/errors.js';
import {
  encodeMessage,
  parseMessage,
  rejectCodeOf,
  rejectCodes,
  rejectedError,
  type ControlMessage,
  type Hello,
} from '../../../src/handshake/messages.js';

const hello: Hello = {
  type: 'hello',
  version: 1,
  name: 'test',
  slots: 16,
  slotBytes: 4096,
  maxPayloadBytes: 1024,
  endpoint: {
    qpn: 0x1234,
    psn: 0xff_ffff,
    gid: '00000000000000000000ffff7f000001',
    lid: 0,
    mtu: 1024,
    maxRdAtomic: 16,
    maxDestRdAtomic: 16,
  },
};

const messages: ControlMessage[] = [
  hello,
  {
    type: 'welcome',
    clientId: 65_536,
    slots: 16,
    slotBytes: 4096,
    mtu: 1024,
    maxRequests: 100,
    maxPayloadBytes: 1024,
    keepaliveSec: 60,
    endpoint: hello.endpoint,
  },
  { type: 'reject', code: 'PSN_IN_USE', message: 'draw again', retryAfterMs: 5 },
  { type: 'ready', region: { rkey: 0xffff_ffff, length: 4096 } },
  { type: 'ready' },
  { type: 'keepalive' },
  { type: 'drain', timeoutMs: 1000 },
  { type: 'bye', reason: 'done' },
  { type: 'bye-ack' },
  { type: 'bye-done' },
  { type: 'qp-error', state: 'ERR', status: 'RETRY_EXC_ERR', message: 'gone' },
];

const parse = (value: unknown): ControlMessage => parseMessage(Buffer.from(JSON.stringify(value)));

function codeOfParsing(body: Uint8Array): string | undefined {
  try {
    parseMessage(body);
    return undefined;
  } catch (error) {
    return error instanceof VerbenaError ? error.code : 'not a VerbenaError';
  }
}

const codeOf = (value: unknown): string | undefined =>
  codeOfParsing(Buffer.from(JSON.stringify(value)));

const withEndpoint = (fields: object): unknown => ({
  ...hello,
  endpoint: { ...hello.endpoint, ...fields },
});

describe('parseMessage', () => {
  it.each(messages)('reads back what was written: $type', (message) => {
    expect(parseMessage(encodeMessage(message))).toEqual(message);
  });

  it('ignores fields that it does not know', () => {
    expect(parse({ ...hello, newer: true })).toEqual(hello);
    expect(parse(withEndpoint({ newer: 1 }))).toEqual(hello);
  });

  it.each([
    ['text', Buffer.from('hello')],
    ['half of an object', Buffer.from('{"type":')],
    ['invalid UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0x22])],
    ['a NUL byte', Buffer.from([0])],
  ])('calls %s a malformed frame', (_, body) => {
    expect(codeOfParsing(body)).toBe('ERR_VERBENA_MALFORMED_FRAME');
  });

  it.each([
    ['null', null],
    ['an array', [hello]],
    ['a number', 7],
    ['no type', {}],
    ['an unknown type', { type: 'hi' }],
    ['a type that is an object', { type: {} }],
    ['a prototype as type', { type: '__proto__' }],
    ['a missing field', { ...hello, slots: undefined }],
    ['a number as text', { ...hello, slots: '16' }],
    ['a fraction', { ...hello, slots: 1.5 }],
    ['no slots', { ...hello, slots: 0 }],
    ['too many slots', { ...hello, slots: 1e9 }],
    ['a tiny slot', { ...hello, slotBytes: 16 }],
    ['a long name', { ...hello, name: 'n'.repeat(129) }],
    ['an endpoint that is text', { ...hello, endpoint: 'here' }],
    ['QPN 0', withEndpoint({ qpn: 0 })],
    ['QPN 1', withEndpoint({ qpn: 1 })],
    ['a QPN of 25 bits', withEndpoint({ qpn: 0x100_0000 })],
    ['the multicast QPN', withEndpoint({ qpn: 0xff_ffff })],
    ['a negative QPN', withEndpoint({ qpn: -2 })],
    ['a PSN of 25 bits', withEndpoint({ psn: 0x100_0000 })],
    ['a short GID', withEndpoint({ gid: '00' })],
    ['a GID in capitals', withEndpoint({ gid: 'F'.repeat(32) })],
    ['an odd MTU', withEndpoint({ mtu: 1500 })],
    ['a long LID', withEndpoint({ lid: 65_536 })],
    ['an rkey of 33 bits', { type: 'ready', region: { rkey: 2 ** 32, length: 8 } }],
    ['a negative length', { type: 'ready', region: { rkey: 1, length: -8 } }],
    ['NaN, which JSON makes null', { type: 'drain', timeoutMs: NaN }],
    ['a long text', { type: 'bye', reason: 'r'.repeat(1025) }],
    ['a code in small letters', { type: 'reject', code: 'psn', message: '' }],
  ])('calls %s an invalid message', (_, value) => {
    expect(codeOf(value)).toBe('ERR_VERBENA_INVALID_MESSAGE');
  });

  it('tells another version before it looks at the rest', () => {
    expect(codeOf({ type: 'hello', version: 2, everything: 'else' })).toBe(
      'ERR_VERBENA_UNSUPPORTED_VERSION',
    );
    expect(codeOf({ ...hello, version: '1' })).toBe('ERR_VERBENA_INVALID_MESSAGE');
  });

  it('throws nothing but a VerbenaError, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (body) => {
        expect(codeOfParsing(body)).not.toBe('not a VerbenaError');
      }),
    );
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(codeOf(value)).not.toBe('not a VerbenaError');
      }),
    );
  });

  it('throws nothing but a VerbenaError when one field of a hello is anything', () => {
    const field = fc.constantFrom(...Object.keys(hello), ...Object.keys(hello.endpoint));
    fc.assert(
      fc.property(field, fc.jsonValue(), (name, value) => {
        const message =
          name in hello ? { ...hello, [name]: value } : withEndpoint({ [name]: value });
        expect(codeOf(message)).not.toBe('not a VerbenaError');
      }),
    );
  });
});

describe('reject', () => {
  it.each(rejectCodes)('%s becomes an error of the same name', (code) => {
    const error = rejectedError({ type: 'reject', code, message: 'why', retryAfterMs: 7 });
    expect(error.code).toBe(`ERR_VERBENA_${code}`);
    expect(errorCodes).toContain(error.code);
    expect(error.retryAfterMs).toBe(7);
    expect(rejectCodeOf(error)).toBe(code);
  });

  it('makes an internal error of a code from the future', () => {
    const error = rejectedError({ type: 'reject', code: 'NEWER', message: '' });
    expect(error.code).toBe('ERR_VERBENA_INTERNAL');
    expect(error.message).toContain('NEWER');
  });

  it('tells the peer INTERNAL for what is not its business', () => {
    expect(rejectCodeOf(new VerbenaError('ERR_VERBENA_VERBS', 'x'))).toBe('INTERNAL');
  });
});
