// The server's options: what they mean, their defaults, and their check.
import {
  DEFAULT_SLOT_BYTES,
  MAX_TIMEOUT_MS,
  integerOption,
  numberOption,
  slotBytesOption,
  stringOption,
} from '../connection/option-checks.js';
import { VerbenaError } from '../errors.js';
import { limits } from '../handshake/messages.js';
import type { Pem } from '../handshake/tls.js';
import type { DeviceOptions } from '../rdma/device.js';
import {
  resolveAdmissionOptions,
  type AdmissionOptions,
  type ResolvedAdmissionOptions,
} from './admission-options.js';
import {
  resolveWorkerOptions,
  type ResolvedWorkerOptions,
  type WorkerOptions,
} from './worker-options.js';

/** Options of `createServer`. Bytes and milliseconds unless the name says otherwise. */
export interface ServerOptions extends DeviceOptions, AdmissionOptions, WorkerOptions {
  /** Address to listen on for TLS; default `'127.0.0.1'`. */
  readonly host?: string | undefined;
  /** TCP port; 0 (default) takes a free one, see `server.address()`. */
  readonly port?: number | undefined;
  /** Certificate chain and private key, PEM. */
  readonly cert: Pem;
  readonly key: Pem;
  /** Authorities of client certificates, PEM. */
  readonly ca?: Pem | undefined;
  /** Refuse clients without a certificate of one of `ca`; default false. */
  readonly requestCert?: boolean | undefined;
  /** SENDs under way each way of a client at most, and receives posted; default 16. */
  readonly slots?: number | undefined;
  /**
   * Size of one SEND; payloads up to 16 bytes less go without rendezvous. Divisible by 64; default
   * 4160.
   */
  readonly slotBytes?: number | undefined;
  /**
   * Memory of each session that its client reaches by one-sided operations; 0 for none, default
   * 8192.
   */
  readonly regionBytes?: number | undefined;
  /** Largest request; default 64 MiB. */
  readonly maxPayloadBytes?: number | undefined;
  /** A client that is silent on TLS for so many seconds is gone; default 60. */
  readonly keepaliveSec?: number | undefined;
  /**
   * A handler that takes longer is given up; default 5000. A client all of whose handlers were
   * given up and still run is closed with ERR_VERBENA_OVERUSE.
   */
  readonly requestTimeoutMs?: number | undefined;
  /**
   * A large response that the client has not read by then is withdrawn, and a client that has taken
   * none of its answers for so long is closed with ERR_VERBENA_OVERUSE; default 30,000.
   */
  readonly rendezvousTimeoutMs?: number | undefined;
  /** Each step of the closing exchange; default 2000. */
  readonly closeTimeoutMs?: number | undefined;
  /** How long `drain` waits for the clients; default 10,000. */
  readonly drainTimeoutMs?: number | undefined;
}

export type ResolvedServerOptions = {
  readonly [
    K in
      | 'host'
      | 'port'
      | 'slots'
      | 'slotBytes'
      | 'regionBytes'
      | 'maxPayloadBytes'
      | 'keepaliveSec'
      | 'requestTimeoutMs'
      | 'rendezvousTimeoutMs'
      | 'closeTimeoutMs'
      | 'drainTimeoutMs'
  ]: NonNullable<ServerOptions[K]>;
} & ResolvedAdmissionOptions &
  ResolvedWorkerOptions &
  Pick<ServerOptions, 'devicePort' | 'gidIndex'>;

/** What each client is granted unless told otherwise. */
export const defaultSession = { slots: 16, slotBytes: DEFAULT_SLOT_BYTES, regionBytes: 8192 };

const timeoutRange = { min: 1, max: MAX_TIMEOUT_MS };

/** Checks every option; throws ERR_VERBENA_INVALID_OPTION that names the first wrong one. */
export function resolveServerOptions(options: ServerOptions): ResolvedServerOptions {
  const pems: Readonly<Record<string, unknown>> = { cert: options.cert, key: options.key };
  for (const name of ['cert', 'key']) {
    if (pems[name] !== undefined) continue;
    throw new VerbenaError('ERR_VERBENA_INVALID_OPTION', `${name} is missing: a server needs PEM`);
  }
  const timeout = (name: keyof ServerOptions & `${string}Ms`, fallback: number): number =>
    numberOption(name, options[name], fallback, timeoutRange);
  const integer = (
    name: 'port' | 'slots' | 'regionBytes' | 'maxPayloadBytes',
    fallback: number,
    range: { min: number; max: number },
  ): number => integerOption(name, options[name], fallback, range);
  return {
    ...resolveWorkerOptions(options),
    devicePort: options.devicePort,
    gidIndex: options.gidIndex,
    host: stringOption('host', options.host, '127.0.0.1', 255),
    port: integer('port', 0, { min: 0, max: 65_535 }),
    ...resolveAdmissionOptions(options),
    slots: integer('slots', defaultSession.slots, limits.slots),
    slotBytes: slotBytesOption(options.slotBytes, defaultSession.slotBytes, limits.slotBytes),
    regionBytes: integer('regionBytes', defaultSession.regionBytes, limits.regionBytes),
    maxPayloadBytes: integer('maxPayloadBytes', 64 * 1024 * 1024, limits.payloadBytes),
    keepaliveSec: numberOption('keepaliveSec', options.keepaliveSec, 60, {
      min: 0.05,
      max: 86_400,
    }),
    requestTimeoutMs: timeout('requestTimeoutMs', 5000),
    rendezvousTimeoutMs: timeout('rendezvousTimeoutMs', 30_000),
    closeTimeoutMs: timeout('closeTimeoutMs', 2000),
    drainTimeoutMs: numberOption('drainTimeoutMs', options.drainTimeoutMs, 10_000, {
      min: 0,
      max: 86_400_000,
    }),
  };
}
