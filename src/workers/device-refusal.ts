// What a client is told when the device has no room for it.
import { VerbenaError, toVerbenaError } from '../errors.js';

/** When a refused client may try again. */
export const RETRY_AFTER_MS = 1000;

/** Native refusals that mean "not now" rather than "never". */
const exhaustion: ReadonlySet<unknown> = new Set([
  'ENOMEM',
  'EAGAIN',
  'EMFILE',
  'ENFILE',
  'ENOSPC',
]);

/** What the client is told: device refusals are exhaustion, everything unforeseen is internal. */
export function toRefusal(thrown: unknown): VerbenaError {
  const error = toVerbenaError(thrown, 'ERR_VERBENA_INTERNAL');
  const isExhausted =
    exhaustion.has(errnoNameOf(thrown)) || exhaustion.has(errnoNameOf(error.cause));
  if (error.code !== 'ERR_VERBENA_NO_MEMORY' && !isExhausted) return error;
  return new VerbenaError(
    'ERR_VERBENA_RESOURCE_EXHAUSTED',
    `the server's device has no room for another client (${error.message})`,
    { cause: thrown, retryAfterMs: RETRY_AFTER_MS },
  );
}

function errnoNameOf(thrown: unknown): unknown {
  return thrown instanceof Error && 'errnoName' in thrown ? thrown.errnoName : undefined;
}
