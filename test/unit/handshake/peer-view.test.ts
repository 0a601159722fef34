// What is made of a failed queue pair once the peer has said how its own is.
import { describe, expect, it } from 'vitest';
import { explainFailure } from '../../../src/handshake/peer-view.js';

const view = (state?: string, status?: string) => ({
  type: 'qp-error' as const,
  message: 'details',
  ...(state === undefined ? {} : { state }),
  ...(status === undefined ? {} : { status }),
});

describe('a failed queue pair', () => {
  it('whose peer works points at the way between them', () => {
    expect(explainFailure('RETRY_EXC_ERR', view('RTS'))).toMatch(
      /peer is alive and its queue pair works \(state RTS\), so packets do not arrive: check UDP/,
    );
  });

  it('whose peer refused does not: the packets arrived', () => {
    expect(explainFailure('REM_ACCESS_ERR', view('RTS'))).toBe(
      '; the peer is alive and its queue pair works (state RTS)',
    );
  });

  it('whose peer failed as well gives the reason of both', () => {
    expect(explainFailure('REM_ACCESS_ERR', view('ERR', 'QP_ACCESS_ERR'))).toBe(
      "; the peer's queue pair failed as well (QP_ACCESS_ERR, state ERR)",
    );
  });

  it.each([
    ['ERR', 'state ERR'],
    [undefined, 'details'],
  ])('whose peer has it in %s says so', (state, text) => {
    expect(explainFailure('RETRY_EXC_ERR', view(state))).toBe(
      `; the peer's queue pair does not work either (${text})`,
    );
  });
});
