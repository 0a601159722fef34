// The one error class of Verbena, its stable codes, and the helpers that make and read errors.

/**
 * Every `code` that an error of this package can carry. Codes are part of the public API: they are
 * added, never changed. A peer's refusal over the control channel has the same name without the
 * prefix.
 */
export const errorCodes = [
  // Raised by the native addon.
  'ERR_VERBENA_LIBRARY',
  'ERR_VERBENA_NO_MEMORY',
  'ERR_VERBENA_IN_USE',
  'ERR_VERBENA_CLOSED',
  'ERR_VERBENA_ARGUMENT',
  'ERR_VERBENA_QP_TRANSITION',
  'ERR_VERBENA_VERBS',
  // Loading, devices, options.
  'ERR_VERBENA_ADDON',
  'ERR_VERBENA_INVALID_OPTION',
  'ERR_VERBENA_UNKNOWN_DEVICE',
  'ERR_VERBENA_HANDLER_MODULE',
  'ERR_VERBENA_PORT_NOT_ACTIVE',
  'ERR_VERBENA_NO_GID',
  'ERR_VERBENA_SOFT_ADDRESS',
  'ERR_VERBENA_LISTEN',
  'ERR_VERBENA_CONNECT',
  'ERR_VERBENA_TLS',
  // Refusals during the set-up; see `rejectCodes` in handshake/messages.ts.
  'ERR_VERBENA_UNSUPPORTED_VERSION',
  'ERR_VERBENA_ALPN_REQUIRED',
  'ERR_VERBENA_MALFORMED_FRAME',
  'ERR_VERBENA_FRAME_TOO_LARGE',
  'ERR_VERBENA_INVALID_MESSAGE',
  'ERR_VERBENA_UNEXPECTED_MESSAGE',
  'ERR_VERBENA_PSN_IN_USE',
  'ERR_VERBENA_GID_FAMILY_MISMATCH',
  'ERR_VERBENA_RESOURCE_EXHAUSTED',
  'ERR_VERBENA_HANDSHAKE_TIMEOUT',
  'ERR_VERBENA_PROOF_MISMATCH',
  'ERR_VERBENA_DRAINING',
  'ERR_VERBENA_INTERNAL',
  // A connection's life and its end.
  'ERR_VERBENA_CONNECTION_CLOSED',
  'ERR_VERBENA_PEER_CLOSED',
  'ERR_VERBENA_CONNECTION_LOST',
  'ERR_VERBENA_RECONNECTING',
  'ERR_VERBENA_KEEPALIVE_TIMEOUT',
  'ERR_VERBENA_PROTOCOL',
  'ERR_VERBENA_OVERUSE',
  'ERR_VERBENA_WORKER_LOST',
  'ERR_VERBENA_QP_ERROR',
  'ERR_VERBENA_PEER_QP_ERROR',
  'ERR_VERBENA_DEVICE_FATAL',
  'ERR_VERBENA_CLEANUP',
  // One request or operation; the connection stays.
  'ERR_VERBENA_PAYLOAD_TOO_LARGE',
  'ERR_VERBENA_QUEUE_FULL',
  'ERR_VERBENA_ACQUIRE_TIMEOUT',
  'ERR_VERBENA_REQUEST_TIMEOUT',
  'ERR_VERBENA_ABORTED',
  'ERR_VERBENA_HANDLER',
  'ERR_VERBENA_RENDEZVOUS',
  'ERR_VERBENA_NO_REGION',
  'ERR_VERBENA_OUT_OF_BOUNDS',
  'ERR_VERBENA_MISALIGNED',
] as const;

export type VerbenaErrorCode = (typeof errorCodes)[number];

const knownCodes: ReadonlySet<string> = new Set(errorCodes);

export interface VerbenaErrorOptions {
  /** What led to this error. */
  readonly cause?: unknown;
  /** The verbs status name of a failed work completion, such as `RETRY_EXC_ERR`. */
  readonly wcStatus?: string | undefined;
  /** Status that a request's handler chose; see `RequestError`. */
  readonly status?: number | undefined;
  /** Milliseconds after which a refused client may try again. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * Base of every error that this package raises. `message` says what happened, the likely cause and
 * what to do next; `code` is stable.
 */
export class VerbenaError extends Error {
  readonly code: VerbenaErrorCode;
  readonly wcStatus: string | undefined;
  readonly status: number | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: VerbenaErrorCode, message: string, options: VerbenaErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.wcStatus = options.wcStatus;
    this.status = options.status;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/**
 * What a request handler throws to answer with a status and a message of its own. Any other
 * exception answers with "the handler failed" and no detail, so that nothing internal leaves the
 * server.
 */
export class RequestError extends VerbenaError {
  /**
   * `status`: 0 to 65,535, meant for the application. `message`: at most 1,024 bytes reach the
   * client.
   */
  constructor(status: number, message: string, options: { readonly cause?: unknown } = {}) {
    super('ERR_VERBENA_HANDLER', message, { ...options, status });
    if (!Number.isInteger(status) || status < 0 || status > 0xffff) {
      throw new VerbenaError(
        'ERR_VERBENA_INVALID_OPTION',
        `a RequestError's status must be an integer from 0 to 65535, not ${status}`,
      );
    }
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of anything that was thrown, if it has one. */
export function codeOf(error: unknown): string | undefined {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

export function isVerbenaErrorCode(code: string): code is VerbenaErrorCode {
  return knownCodes.has(code);
}

/**
 * Gives an error of the native addon, which has a code but not our class, the class; others pass
 * through.
 */
export function toVerbenaError(error: unknown, fallback: VerbenaErrorCode): VerbenaError {
  if (error instanceof VerbenaError) return error;
  const code = codeOf(error);
  return new VerbenaError(
    code !== undefined && isVerbenaErrorCode(code) ? code : fallback,
    messageOf(error),
    { cause: error },
  );
}

/** One error for the failures of several clean-up steps, or undefined when there were none. */
export function cleanupError(what: string, failures: readonly unknown[]): VerbenaError | undefined {
  if (failures.length === 0) return undefined;
  return new VerbenaError(
    'ERR_VERBENA_CLEANUP',
    `${what}: ${failures.length} step(s) failed: ${failures.map(messageOf).join('; ')}`,
    { cause: failures.length === 1 ? failures[0] : new AggregateError(failures) },
  );
}
