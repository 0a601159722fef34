// A handler whose work depends on how long the request is.

/** Bytes of a request of each kind. */
export const bytesOf = { trivial: 64, computing: 128, long: 256 };

/** Rounds of arithmetic: about 1 ms and 50 ms of a core that is free. */
const roundsOf = { [bytesOf.computing]: 1_000_000, [bytesOf.long]: 50_000_000 };

export default function handle({ payload }) {
  let state = payload[0] ?? 0;
  for (let round = roundsOf[payload.length] ?? 0; round > 0; round--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  }
  // So that the loop is not for nothing.
  payload[0] = state & 0xff;
  return payload;
}
