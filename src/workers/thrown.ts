// Errors on their way between threads: what a structured clone would drop of them is kept.
import { VerbenaError, codeOf, isVerbenaErrorCode, toVerbenaError } from '../errors.js';

const MAX_CAUSES = 4;

/** Plain data that stands for something that was thrown. */
export interface PackedError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | undefined;
  readonly wcStatus: string | undefined;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;
  readonly cause: PackedError | undefined;
}

export function packError(thrown: unknown, depth = 0): PackedError {
  const own = thrown instanceof VerbenaError ? thrown : undefined;
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const hasCause = error.cause !== undefined && depth < MAX_CAUSES;
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    code: codeOf(error),
    wcStatus: own?.wcStatus,
    status: own?.status,
    retryAfterMs: own?.retryAfterMs,
    cause: hasCause ? packError(error.cause, depth + 1) : undefined,
  };
}

/** For what is known to be one. */
export function unpackVerbenaError(packed: PackedError): VerbenaError {
  return toVerbenaError(unpackError(packed), 'ERR_VERBENA_INTERNAL');
}

/** A VerbenaError where it was one; else an Error with the name, the stack and the code. */
export function unpackError(packed: PackedError): Error {
  const { name, message, stack, code, wcStatus, status, retryAfterMs } = packed;
  const cause = packed.cause && unpackError(packed.cause);
  const error =
    code !== undefined && isVerbenaErrorCode(code)
      ? new VerbenaError(code, message, { wcStatus, status, retryAfterMs, cause })
      : new Error(message, cause && { cause });
  Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true });
  if (stack !== undefined) error.stack = stack;
  return code === undefined ? error : Object.assign(error, { code });
}
