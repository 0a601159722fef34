// The error class: stable codes, causes kept, nothing lost on the way from the native layer.
import { describe, expect, it } from 'vitest';
import {
  RequestError,
  VerbenaError,
  cleanupError,
  codeOf,
  errorCodes,
  messageOf,
  toVerbenaError,
} from '../../src/errors.js';

describe('errorCodes', () => {
  it('are unique and have one form', () => {
    expect(new Set(errorCodes).size).toBe(errorCodes.length);
    for (const code of errorCodes) expect(code).toMatch(/^ERR_VERBENA_[A-Z_]+$/);
  });
});

describe('toVerbenaError', () => {
  it('keeps the code and the cause of a native error', () => {
    const native = Object.assign(new Error('no memory'), { code: 'ERR_VERBENA_NO_MEMORY' });
    const error = toVerbenaError(native, 'ERR_VERBENA_INTERNAL');
    expect(error).toMatchObject({ code: 'ERR_VERBENA_NO_MEMORY', message: 'no memory' });
    expect(error.cause).toBe(native);
  });

  it.each([
    ['a system error', Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })],
    ['text', 'text'],
    ['nothing', undefined],
  ])('gives %s the fallback code', (_, thrown) => {
    expect(toVerbenaError(thrown, 'ERR_VERBENA_INTERNAL').code).toBe('ERR_VERBENA_INTERNAL');
  });

  it('passes its own kind through', () => {
    const error = new VerbenaError('ERR_VERBENA_TLS', 'x');
    expect(toVerbenaError(error, 'ERR_VERBENA_INTERNAL')).toBe(error);
  });
});

describe('RequestError', () => {
  it('carries a status of 16 bits', () => {
    expect(new RequestError(404, 'absent')).toMatchObject({
      code: 'ERR_VERBENA_HANDLER',
      status: 404,
      name: 'RequestError',
    });
    for (const status of [-1, 65_536, 1.5, NaN]) {
      expect(() => new RequestError(status, 'x')).toThrow(
        expect.objectContaining({ code: 'ERR_VERBENA_INVALID_OPTION' }),
      );
    }
  });
});

describe('cleanupError', () => {
  it('is none when nothing failed', () => {
    expect(cleanupError('closing', [])).toBeUndefined();
  });

  it('names every failure', () => {
    const error = cleanupError('closing', [new Error('one'), 'two']);
    expect(error).toMatchObject({ code: 'ERR_VERBENA_CLEANUP' });
    expect(error?.message).toContain('one; two');
    expect(error?.cause).toBeInstanceOf(AggregateError);
  });
});

describe('messageOf and codeOf', () => {
  it('read anything that can be thrown', () => {
    expect([messageOf(new Error('e')), messageOf('s'), messageOf(undefined)]).toEqual([
      'e',
      's',
      'undefined',
    ]);
    expect(codeOf(Object.assign(new Error('e'), { code: 'EX' }))).toBe('EX');
    expect([codeOf(new Error('e')), codeOf({ code: 'EX' }), codeOf(null)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });
});
