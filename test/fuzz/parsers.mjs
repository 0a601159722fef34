// What a peer or a user writes and TypeScript reads: each target takes bytes, and throws only when the
// parser does something that it must not.
import { deepStrictEqual, ok } from 'node:assert/strict';

/** Runs `parse`; an error must be of one of the kinds that callers expect. */
function attempt(parse, isExpected) {
  try {
    return parse();
  } catch (error) {
    if (isExpected(error)) return undefined;
    throw error;
  }
}

const asText = (bytes) => Buffer.from(bytes).toString('utf8');

function asJson(bytes) {
  try {
    return JSON.parse(asText(bytes));
  } catch {
    return undefined;
  }
}

/** The targets by name; `api` has the parsers, of `dist` or of the sources. */
export function parserTargets(api) {
  const isTyped = (error) => error instanceof api.VerbenaError;

  /** What a reader makes of chunks of so many bytes: its frames, and the code of its end. */
  function framesOf(bytes, chunkBytes) {
    const reader = new api.FrameReader(api.FIRST_FRAME_BYTES);
    const frames = [];
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      const chunk = bytes.subarray(at, at + chunkBytes);
      const end = attempt(() => {
        reader.push(chunk, (body) => frames.push(Buffer.from(body)) > 0);
        return 'goes on';
      }, isTyped);
      if (end === undefined) return { frames, ended: true };
    }
    return { frames, ended: false };
  }

  return {
    /** However a stream is cut up, its frames are the same. The first byte says how. */
    frame(bytes) {
      const stream = bytes.subarray(1);
      const whole = framesOf(stream, Math.max(1, stream.length));
      deepStrictEqual(framesOf(stream, 1 + (bytes[0] ?? 0)), whole);
      for (const frame of whole.frames) ok(frame.length <= api.FIRST_FRAME_BYTES);
    },

    /** A message that is taken means the same when it is written again. */
    message(bytes) {
      const message = attempt(() => api.parseMessage(bytes), isTyped);
      if (message === undefined) return;
      const written = api.encodeMessage(message);
      deepStrictEqual(api.encodeMessage(api.parseMessage(written)), written);
    },

    /** Configurations are taken whole, or every fault is named with where it came from. */
    config(bytes) {
      const content = asJson(bytes);
      if (content === undefined) return;
      const sources = { flags: {}, env: {}, file: { path: 'verbena.json', content } };
      const isProblem = (error) =>
        error instanceof api.ConfigProblem && error.message.includes('verbena.json');
      attempt(() => api.serveConfig(sources), isProblem);
    },

    /** Plans are taken, or the line is named. */
    plan(bytes) {
      const plan = attempt(
        () => api.parsePlanFile(asText(bytes)),
        (error) => error instanceof api.PlanProblem,
      );
      if (plan === undefined) return;
      const isProblem = (error) => error instanceof api.PlanProblem;
      attempt(() => api.plannedClients(plan, 1, 0), isProblem);
    },
  };
}
