// Fuzzes functions of this process, guided by V8's coverage: what reaches something new is kept and
// changed further.
import { Session } from 'node:inspector';

const LONGEST_INPUT = 4096;
/** Of processor time: others may have the processor meanwhile. */
const LONGEST_MS = 1000;
/** Changes of one input, at most. */
const MOST_CHANGES = 4;
const notable = [
  0, 1, 0x0a, 0x20, 0x22, 0x2d, 0x30, 0x39, 0x3a, 0x5b, 0x7b, 0x7d, 0x7f, 0x80, 0xff,
];
const notableNumbers = ['0', '-1', '1.5', '1e9', '65536', '4294967296', '9007199254740993', 'null'];

/** A generator of numbers from 0 up to `below`; the same for the same seed. */
function randomFrom(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

function splice(bytes, at, removed, inserted) {
  return Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + removed)]);
}

const changes = [
  (bytes, random) => {
    const changed = Buffer.from(bytes);
    if (changed.length > 0) changed[random(changed.length)] ^= 1 << random(8);
    return changed;
  },
  (bytes, random) => {
    const byte = Buffer.of(notable[random(notable.length)]);
    return splice(bytes, random(bytes.length + 1), random(2), byte);
  },
  (bytes, random) => splice(bytes, random(bytes.length + 1), 1 + random(16), Buffer.alloc(0)),
  (bytes, random) => {
    const from = random(bytes.length + 1);
    const piece = bytes.subarray(from, from + 1 + random(64));
    return splice(bytes, random(bytes.length + 1), 0, piece);
  },
  // A number in the text becomes another one.
  (bytes, random) => {
    const text = bytes.toString('latin1');
    const numbers = [...text.matchAll(/\d+/g)];
    if (numbers.length === 0) return bytes;
    const { index, 0: digits } = numbers[random(numbers.length)];
    const number = Buffer.from(notableNumbers[random(notableNumbers.length)]);
    return splice(bytes, index, digits.length, number);
  },
  // A piece of another input.
  (bytes, random, pool) => {
    const other = pool[random(pool.length)];
    const from = random(other.length + 1);
    const piece = other.subarray(from, from + 1 + random(128));
    return splice(bytes, random(bytes.length + 1), random(piece.length + 1), piece);
  },
];

/** Tells after each run whether something ran that had not run before. */
class Coverage {
  #session = new Session();
  #seen = new Set();

  constructor() {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  get size() {
    return this.#seen.size;
  }

  grew() {
    const before = this.#seen.size;
    // A session of this very thread answers at once.
    this.#session.post('Profiler.takePreciseCoverage', (error, taken) => {
      if (error) throw error;
      for (const { url, functions } of taken.result) {
        if (!/\/(dist|zod)\//.test(url)) continue;
        for (const { ranges } of functions) {
          for (const { startOffset, endOffset, count } of ranges) {
            if (count > 0) this.#seen.add(`${url}:${startOffset}:${endOffset}`);
          }
        }
      }
    });
    return this.#seen.size > before;
  }

  stop() {
    this.#session.disconnect();
  }
}

/** What went wrong with which input. */
export class Finding extends Error {
  constructor(input, cause) {
    super(String(cause?.stack ?? cause));
    this.input = input;
  }
}

function runOnce(target, input) {
  const started = process.cpuUsage();
  try {
    target(input);
  } catch (error) {
    throw new Finding(input, error);
  }
  const { user, system } = process.cpuUsage(started);
  const ms = (user + system) / 1000;
  if (ms > LONGEST_MS) throw new Finding(input, `it took ${ms.toFixed(0)} ms of a processor`);
}

/**
 * Runs `target` with changed inputs of `corpus` for so long. Returns the number of runs, how much
 * was covered, and the inputs that covered something new. Throws a Finding.
 */
export function fuzzParser(target, corpus, { seconds, seed }) {
  const random = randomFrom(seed);
  const coverage = new Coverage();
  const pool = [...corpus];
  for (const input of pool) runOnce(target, input);
  coverage.grew();
  let runs = 0;
  for (const end = performance.now() + seconds * 1000; performance.now() < end; runs++) {
    let input = pool[random(pool.length)];
    for (let left = 1 + random(MOST_CHANGES); left > 0; left--) {
      input = changes[random(changes.length)](input, random, pool);
    }
    input = input.subarray(0, LONGEST_INPUT);
    runOnce(target, input);
    if (coverage.grew()) pool.push(input);
  }
  coverage.stop();
  return { runs, covered: coverage.size, found: pool.slice(corpus.length) };
}
