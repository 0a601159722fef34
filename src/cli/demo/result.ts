// What the demo found: its JSON document, its verdict and its summary in words.
import { countObjects, type LiveObjects } from '../../processes/live-objects.js';

/** The document that `verbena demo --json` prints. */
export interface DemoResult {
  readonly device: string;
  readonly clients: number;
  readonly connected: number;
  /** Pairs of packet sequence numbers that no two sessions shared. */
  readonly uniquePsns: number;
  readonly requests: number;
  readonly errors: number;
  /** Bytes that came back and were compared, equal. */
  readonly bytesVerified: number;
  readonly latencyUs: { readonly p50: number; readonly p99: number };
  readonly requestsPerSecond: number;
  /** Objects that the server or a client still held at its end. */
  readonly leaked: LiveObjects;
}

/** True when every client connected with numbers of its own, nothing failed and nothing is left. */
export function isGood(result: DemoResult): boolean {
  return (
    result.errors === 0 &&
    result.connected === result.clients &&
    result.uniquePsns === result.clients &&
    countObjects(result.leaked) === 0
  );
}

export function formatBytes(bytes: number): string {
  return bytes < 1024 ** 2
    ? `${(bytes / 1024).toFixed(1)} KiB`
    : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}

export function summaryOf(result: DemoResult, errors: readonly string[]): string {
  const { clients, connected, uniquePsns, requests, requestsPerSecond, latencyUs } = result;
  const { pd, cq, qp, mr } = result.leaked;
  const lines = [
    `device      ${result.device}`,
    `clients     ${connected} of ${clients} connected, ${uniquePsns} unique PSN pairs`,
    `requests    ${requests}, ${Math.round(requestsPerSecond)} per second`,
    `latency     p50 ${latencyUs.p50.toFixed(0)} µs, p99 ${latencyUs.p99.toFixed(0)} µs`,
    `verified    ${formatBytes(result.bytesVerified)}`,
    `left over   pd ${pd}, cq ${cq}, qp ${qp}, mr ${mr}`,
    ...errors.map((error) => `error       ${error}`),
    isGood(result) ? 'Every byte and counter was right.' : 'The demo failed.',
  ];
  return lines.join('\n');
}
