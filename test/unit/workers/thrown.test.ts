// Errors between threads: what arrives is what was thrown.
import { describe, expect, it } from 'vitest';
import { RequestError, VerbenaError } from '../../../src/errors.js';
import { packError, unpackError } from '../../../src/workers/thrown.js';

const sent = (thrown: unknown): Error => unpackError(structuredClone(packError(thrown)));

describe('an error on its way to another thread', () => {
  it('keeps its class, its code and all that it carries', () => {
    const cause = Object.assign(new TypeError('no such file'), { code: 'ENOENT' });
    const error = new VerbenaError('ERR_VERBENA_QP_ERROR', 'it broke', {
      cause,
      wcStatus: 'RETRY_EXC_ERR',
      retryAfterMs: 7,
    });
    const arrived = sent(error);
    expect(arrived).toBeInstanceOf(VerbenaError);
    expect(arrived).toMatchObject({
      code: 'ERR_VERBENA_QP_ERROR',
      message: 'it broke',
      wcStatus: 'RETRY_EXC_ERR',
      retryAfterMs: 7,
      stack: error.stack,
      cause: { name: 'TypeError', message: 'no such file', code: 'ENOENT' },
    });
  });

  it('keeps its name and status', () => {
    expect(sent(new RequestError(404, 'absent'))).toMatchObject({
      name: 'RequestError',
      status: 404,
    });
  });

  it.each([['text'], [undefined], [5], [Symbol('x')]])(
    'arrives as an error when it was none: %s',
    (thrown) => {
      expect(sent(thrown)).toMatchObject({ name: 'Error', message: String(thrown) });
    },
  );

  it('ends a chain of causes that goes in circles', () => {
    const error = new Error('again');
    error.cause = error;
    expect(sent(error)).toMatchObject({ cause: { cause: { message: 'again' } } });
  });
});
