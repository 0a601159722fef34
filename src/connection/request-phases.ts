// Where the time of one request went: what each side measured on its own clock, put together.
import { throwLater } from '../rdma/poll-group.js';
import type { SendWatch } from './send-queue.js';

/** Parts of the time from the call of `request` to its answer; together they are all of it. */
export interface RequestPhases {
  /** From the call until the message is handed to the device. */
  readonly clientQueueMs: number;
  /** The way there: half of what the server's device took to acknowledge the message. */
  readonly wireMs: number;
  /** All that is in none of the others: mostly the wait for the server's thread. */
  readonly serverQueueMs: number;
  /** From the call of the server's handler to its result, as the server measured it. */
  readonly handlerMs: number;
  /** The way back, taken to be as long as the way there; of a large answer also its transfer. */
  readonly backMs: number;
}

/** The time of a handler travels in units of 100 ns. */
const UNITS_PER_MS = 10_000;
const MAX_UNITS = 0xffff_ffff;

/** A handler's time as it stands in the header of the answer; 7 minutes and more are one value. */
export function encodeHandlerTime(ms: number): number {
  return Math.min(Math.round(ms * UNITS_PER_MS), MAX_UNITS);
}

/** What a client notes of one request, in milliseconds of `performance.now()`. */
export interface RequestTimes {
  readonly askedMs: number;
  readonly postedMs: number;
  /** Undefined: no sooner than the answer. */
  readonly acknowledgedMs: number | undefined;
  readonly answeredMs: number;
  readonly doneMs: number;
  /** As the server says. */
  readonly handlerMs: number;
}

/** No part is below 0 and their sum is the whole, whatever the server says. */
export function phasesOf(times: RequestTimes): RequestPhases {
  const { askedMs, postedMs, acknowledgedMs, answeredMs, doneMs } = times;
  const awayMs = answeredMs - postedMs;
  const handlerMs = Math.min(times.handlerMs, awayMs);
  const elsewhereMs = awayMs - handlerMs;
  const acknowledgingMs = (acknowledgedMs ?? answeredMs) - postedMs;
  const wireMs = Math.min(acknowledgingMs, elsewhereMs) / 2;
  return {
    clientQueueMs: postedMs - askedMs,
    wireMs,
    serverQueueMs: elsewhereMs - 2 * wireMs,
    handlerMs,
    backMs: wireMs + (doneMs - answeredMs),
  };
}

/** Follows one request of a client from its call to its answer. */
export class PhaseTrace implements SendWatch {
  readonly #askedMs = performance.now();
  readonly #tell: (phases: RequestPhases) => void;
  #postedMs = 0;
  #acknowledgedMs: number | undefined;
  #answeredMs = 0;
  #handlerMs = 0;

  constructor(tell: (phases: RequestPhases) => void) {
    this.#tell = tell;
  }

  onPosted(): void {
    this.#postedMs = performance.now();
  }

  onAcknowledged(): void {
    this.#acknowledgedMs = performance.now();
  }

  onAnswered(handlerTime: number): void {
    this.#answeredMs = performance.now();
    this.#handlerMs = handlerTime / UNITS_PER_MS;
  }

  /** The caller gets its answer now. */
  finish(): void {
    // A server that did not say what it was asked for is told by its silence.
    if (this.#answeredMs === 0) return;
    try {
      this.#tell(
        phasesOf({
          askedMs: this.#askedMs,
          postedMs: this.#postedMs,
          acknowledgedMs: this.#acknowledgedMs,
          answeredMs: this.#answeredMs,
          doneMs: performance.now(),
          handlerMs: this.#handlerMs,
        }),
      );
    } catch (error) {
      throwLater(error);
    }
  }
}
