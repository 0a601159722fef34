// The proof covers both messages, their boundary and the side.
import { describe, expect, it } from 'vitest';
import { PROOF_BYTES, makeProof, proofMatches } from '../../../src/handshake/proof.js';

const key = Buffer.alloc(32, 7);
const hello = Buffer.from('{"type":"hello"}');
const welcome = Buffer.from('{"type":"welcome"}');
const proof = makeProof(key, 'client', hello, welcome);

describe('makeProof', () => {
  it('gives both sides the same bytes', () => {
    expect(proof).toHaveLength(PROOF_BYTES);
    expect(proofMatches(proof, makeProof(key, 'client', hello, welcome))).toBe(true);
  });

  it.each([
    ['another key', makeProof(Buffer.alloc(32, 8), 'client', hello, welcome)],
    ['the other side', makeProof(key, 'server', hello, welcome)],
    ['another hello', makeProof(key, 'client', Buffer.from('{}'), welcome)],
    ['another welcome', makeProof(key, 'client', hello, Buffer.from('{}'))],
    [
      'the same bytes, cut elsewhere',
      makeProof(key, 'client', Buffer.concat([hello, welcome.subarray(0, 1)]), welcome.subarray(1)),
    ],
    ['a shorter proof', proof.subarray(1)],
    ['nothing', Buffer.alloc(0)],
  ])('does not match %s', (_, other) => {
    expect(proofMatches(proof, other)).toBe(false);
  });
});
