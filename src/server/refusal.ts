// What newcomers are told while the server takes none.
import { VerbenaError } from '../errors.js';
import { RETRY_AFTER_MS } from '../workers/device-refusal.js';
import type { ServerState } from './views.js';

/** Why there was no room for a client. */
export const admissionRefusalReasons = ['full', 'waited', 'addressRate', 'shedding'] as const;
export type AdmissionRefusalReason = (typeof admissionRefusalReasons)[number];

/** There is no room for a client now. */
export class AdmissionRefusal extends VerbenaError {
  readonly reason: AdmissionRefusalReason;

  constructor(reason: AdmissionRefusalReason, message: string, retryAfterMs: number) {
    super('ERR_VERBENA_RESOURCE_EXHAUSTED', message, { retryAfterMs });
    this.name = 'VerbenaError';
    this.reason = reason;
  }
}

/** What clients are told while the server stops. */
export function drainingError(): VerbenaError {
  return new VerbenaError('ERR_VERBENA_DRAINING', 'the server is about to stop', {
    retryAfterMs: RETRY_AFTER_MS,
  });
}

/** What clients are told whose worker is about to be replaced. */
export function workerDrainingError(): VerbenaError {
  return new VerbenaError(
    'ERR_VERBENA_RESOURCE_EXHAUSTED',
    'the worker of this client is being replaced; another will take it',
    { retryAfterMs: RETRY_AFTER_MS },
  );
}

export function deviceFailedError(deviceName: string): VerbenaError {
  return new VerbenaError(
    'ERR_VERBENA_DEVICE_FATAL',
    `the device ${deviceName} failed; its connections are gone (see dmesg)`,
  );
}

/** Undefined when newcomers are welcome. */
export function refusalIn(state: ServerState, deviceName: string): VerbenaError | undefined {
  switch (state) {
    case 'listening':
      return undefined;
    case 'suspended':
      return new VerbenaError(
        'ERR_VERBENA_PORT_NOT_ACTIVE',
        `the port of the server's device ${deviceName} is down`,
        { retryAfterMs: RETRY_AFTER_MS },
      );
    case 'failed':
      return deviceFailedError(deviceName);
    case 'draining':
    case 'closing':
    case 'closed':
      return drainingError();
  }
}
