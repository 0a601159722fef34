// What a scenario found: its JSON document, its verdict and its summary in words.
import { countObjects, type LiveObjects } from '../processes/live-objects.js';
import type { Details } from './stage.js';

/** The document that `verbena stress --json` prints. */
export interface StressResult {
  readonly scenario: string;
  readonly passed: boolean;
  readonly device: string;
  /** `own`, or the server that was given. */
  readonly server: string;
  /** The sides that were looked at: of a server that was given only what its clients see. */
  readonly judged: readonly ('clients' | 'server')[];
  /** Connections that came about. */
  readonly clients: number;
  /** Pairs of packet sequence numbers that no two of them shared. */
  readonly uniquePsns: number;
  readonly requests: number;
  /** Bytes that came back and were compared, equal. */
  readonly bytesVerified: number;
  /** What went wrong and was not meant to. */
  readonly errors: number;
  /** What went wrong because the scenario wanted it to. */
  readonly provoked: number;
  /** Objects that the server, or a client that left, still held at its end. */
  readonly leaked: LiveObjects;
  /** Where the scenario's randomness started. */
  readonly seed: number;
  readonly interrupted: boolean;
  readonly seconds: number;
  readonly details: Details;
}

/** True when nothing went wrong, the numbers were unique and nothing is left. */
export function isPassed(result: Omit<StressResult, 'passed'>): boolean {
  return (
    !result.interrupted &&
    result.errors === 0 &&
    result.clients > 0 &&
    result.uniquePsns === result.clients &&
    countObjects(result.leaked) === 0
  );
}

function detailLine(name: string, value: Details[string]): string {
  const text =
    typeof value === 'number'
      ? String(value)
      : Object.entries(value)
          .map(([key, number]) => `${key} ${number}`)
          .join(', ');
  return `${name} `.padEnd(15) + text;
}

export function summaryOf(result: StressResult): string {
  const { pd, cq, qp, mr } = result.leaked;
  const verdict = result.interrupted ? 'was interrupted' : result.passed ? 'passed' : 'FAILED';
  return [
    `device         ${result.device}`,
    `clients        ${result.clients}, ${result.uniquePsns} unique PSN pairs`,
    `requests       ${result.requests}, ${result.bytesVerified} bytes verified`,
    `errors         ${result.errors}, and ${result.provoked} provoked`,
    `left over      pd ${pd}, cq ${cq}, qp ${qp}, mr ${mr}`,
    ...Object.entries(result.details).map(([name, value]) => detailLine(name, value)),
    `judged from    ${result.judged.join(' and ')}`,
    `The scenario ${result.scenario} ${verdict} (seed ${result.seed}).`,
  ].join('\n');
}
