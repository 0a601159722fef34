// Counts what became of the clients of a server.
import { DurationHistogram } from '../connection/duration-histogram.js';
import type { VerbenaError } from '../errors.js';
import {
  AdmissionRefusal,
  admissionRefusalReasons,
  type AdmissionRefusalReason,
} from './refusal.js';
import type { ServerStats } from './views.js';

type Counts = Record<string, number>;

export class Tally {
  readonly #refused: Counts = {};
  readonly #noRoom = Object.fromEntries(
    admissionRefusalReasons.map((reason) => [reason, 0]),
  ) as Record<AdmissionRefusalReason, number>;
  readonly #ended: Counts = {};
  readonly #queuePairFailures: Counts = {};
  readonly #handshakes = new DurationHistogram();
  #accepted = 0;

  accepted(setupMs: number): void {
    this.#accepted++;
    this.#handshakes.observe(setupMs);
  }

  refused(error: VerbenaError): void {
    increment(this.#refused, error.code);
    if (error instanceof AdmissionRefusal) this.#noRoom[error.reason]++;
  }

  ended({ code }: VerbenaError): void {
    increment(this.#ended, code);
  }

  queuePairFailed({ wcStatus, code }: VerbenaError): void {
    increment(this.#queuePairFailures, wcStatus ?? code);
  }

  counts() {
    return {
      accepted: this.#accepted,
      refused: { ...this.#refused },
      noRoom: { ...this.#noRoom },
      handshakeDurations: this.#handshakes.durations(),
      queuePairFailures: { ...this.#queuePairFailures },
      ended: { ...this.#ended },
    } satisfies Partial<ServerStats>;
  }
}

function increment(counts: Counts, code: string): void {
  counts[code] = (counts[code] ?? 0) + 1;
}
