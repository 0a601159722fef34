// What two views of a failed queue pair, this side's and the peer's, say together.
import { VerbenaError } from '../errors.js';
import type { QpErrorMessage } from './messages.js';

/** States in which a queue pair takes what arrives. */
const working: ReadonlySet<string | undefined> = new Set(['RTR', 'RTS', 'SQD']);

/** How the peer's queue pair is, in words: `REM_ACCESS_ERR, state ERR`. */
export function describeView({ status, state, message }: QpErrorMessage): string {
  const parts = [status, state === undefined ? undefined : `state ${state}`].filter(
    (part) => part !== undefined,
  );
  return parts.length === 0 ? message : parts.join(', ');
}

/** What it is here when the peer's queue pair failed. */
export function peerQueuePairError(view: QpErrorMessage): VerbenaError {
  return new VerbenaError(
    'ERR_VERBENA_PEER_QP_ERROR',
    `the peer's queue pair failed (${describeView(view)}): ${view.message}`,
    { wcStatus: view.status },
  );
}

/**
 * The sentence to add to a failure here: what the peer's view makes of it. `status` is the verbs
 * status of the failure here.
 */
export function explainFailure(status: string | undefined, view: QpErrorMessage): string {
  const seen = describeView(view);
  if (view.status !== undefined) return `; the peer's queue pair failed as well (${seen})`;
  if (!working.has(view.state)) return `; the peer's queue pair does not work either (${seen})`;
  if (status === 'RETRY_EXC_ERR') {
    return (
      `; the peer is alive and its queue pair works (${seen}), so packets do not arrive: check ` +
      'UDP port 4791, the GID index and the MTU'
    );
  }
  return `; the peer is alive and its queue pair works (${seen})`;
}
