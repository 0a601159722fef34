// The options of `connect`: what they mean, their defaults, and their check.
import {
  DEFAULT_SLOT_BYTES,
  MAX_TIMEOUT_MS,
  integerOption,
  numberOption,
  slotBytesOption,
  stringOption,
} from '../connection/option-checks.js';
import { limits } from '../handshake/messages.js';
import type { Pem } from '../handshake/tls.js';
import type { DeviceOptions } from '../rdma/device.js';

const timeoutRange = { min: 1, max: MAX_TIMEOUT_MS };

/** How a lost connection is made again. */
export interface ReconnectOptions {
  /** Longest wait before the first attempt; doubled for each that fails. Default 100. */
  readonly initialDelayMs?: number | undefined;
  /** Longest wait at all; default 10,000. */
  readonly maxDelayMs?: number | undefined;
  /** Attempts in a row that may fail before the connection is closed for good; default Infinity. */
  readonly maxAttempts?: number | undefined;
}

export type ResolvedReconnectOptions = { readonly [K in keyof ReconnectOptions]-?: number };

/** Undefined when the connection is not to be made again. */
export function resolveReconnectOptions({
  reconnect,
}: ConnectOptions): ResolvedReconnectOptions | undefined {
  if (reconnect === undefined || reconnect === false) return undefined;
  const { initialDelayMs, maxDelayMs, maxAttempts } = reconnect === true ? {} : reconnect;
  return {
    initialDelayMs: numberOption('reconnect.initialDelayMs', initialDelayMs, 100, timeoutRange),
    maxDelayMs: numberOption('reconnect.maxDelayMs', maxDelayMs, 10_000, timeoutRange),
    maxAttempts:
      maxAttempts === undefined || maxAttempts === Infinity
        ? Infinity
        : integerOption('reconnect.maxAttempts', maxAttempts, 0, { min: 1, max: 2 ** 31 - 1 }),
  };
}

/** How what a server refuses for want of room is tried again, when the server says so. */
export interface RetryOptions {
  /** Attempts after the first, of one request or set-up; default 3. */
  readonly maxRetries?: number | undefined;
  /** A refusal that asks for a longer wait is not tried again; default 10,000. */
  readonly maxDelayMs?: number | undefined;
  /**
   * Retries in a hundred requests, over time: beyond, refusals are reported at once, so that
   * retries do not feed the overload that they come from. Ten are possible from the start. Default
   * 10.
   */
  readonly budgetPercent?: number | undefined;
}

export type ResolvedRetryOptions = { readonly [K in keyof RetryOptions]-?: number };

/** Undefined when nothing is to be tried again. */
export function resolveRetryOptions({ retry }: ConnectOptions): ResolvedRetryOptions | undefined {
  if (retry === undefined || retry === false) return undefined;
  const { maxRetries, maxDelayMs, budgetPercent } = retry === true ? {} : retry;
  return {
    maxRetries: integerOption('retry.maxRetries', maxRetries, 3, { min: 1, max: 1000 }),
    maxDelayMs: numberOption('retry.maxDelayMs', maxDelayMs, 10_000, timeoutRange),
    budgetPercent: numberOption('retry.budgetPercent', budgetPercent, 10, { min: 0, max: 100 }),
  };
}

/** Options of `connect`. Bytes and milliseconds unless the name says otherwise. */
export interface ConnectOptions extends DeviceOptions {
  /** Address and TCP port of the server. */
  readonly host: string;
  readonly port: number;
  /** Authorities of the server's certificate, PEM; default: those that Node trusts. */
  readonly ca?: Pem | undefined;
  /** This client's certificate and key, PEM, for servers with `requestCert`. */
  readonly cert?: Pem | undefined;
  readonly key?: Pem | undefined;
  /** Name to verify the certificate against; default: `host`. */
  readonly servername?: string | undefined;
  /** False: do not verify the server, so that anyone may answer in its place. Default true. */
  readonly rejectUnauthorized?: boolean | undefined;
  /** What this client calls itself at the server; at most 128 characters. */
  readonly name?: string | undefined;
  /** Wanted SENDs under way; default 16. The server may grant less. */
  readonly slots?: number | undefined;
  /** Wanted size of a SEND; divisible by 64, default 4160. The server may grant less. */
  readonly slotBytes?: number | undefined;
  /**
   * Wanted size of the region; default: what the server offers. It may grant less, see
   * `regionLength`.
   */
  readonly regionBytes?: number | undefined;
  /** Largest response; default 64 MiB. */
  readonly maxPayloadBytes?: number | undefined;
  /**
   * Requests, and one-sided operations, that may wait for their turn; beyond, they fail. Default
   * 1000.
   */
  readonly queueSize?: number | undefined;
  /** From the first packet to the end of the set-up; default 5000. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** Default of `request`; 5000. */
  readonly requestTimeoutMs?: number | undefined;
  /** A large request that the server has not read by then is withdrawn; default 30,000. */
  readonly rendezvousTimeoutMs?: number | undefined;
  /**
   * How long `close` waits for requests in work, and for each step of the closing exchange; default
   * 5000.
   */
  readonly closeTimeoutMs?: number | undefined;
  /**
   * Connect again when the connection ends other than by `close()`; true for the defaults. The
   * first attempt is not repeated: when it fails, `connect` rejects. Default false.
   */
  readonly reconnect?: boolean | ReconnectOptions | undefined;
  /**
   * Try again what the server refuses with a time to come back (`retryAfterMs`), set-ups and
   * requests: not sooner than it says, with jitter, within `requestTimeoutMs` of a request; true
   * for the defaults. Nothing is repeated that a handler has begun. Default false.
   */
  readonly retry?: boolean | RetryOptions | undefined;
  /** Aborting it gives the attempt up. */
  readonly signal?: AbortSignal | undefined;
}

export interface ResolvedConnectOptions {
  readonly host: string;
  readonly port: number;
  readonly name: string;
  readonly slots: number;
  readonly slotBytes: number;
  readonly regionBytes: number | undefined;
  readonly maxPayloadBytes: number;
  readonly queueSize: number;
  readonly handshakeTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly rendezvousTimeoutMs: number;
  readonly closeTimeoutMs: number;
}

/** Checks every option; throws ERR_VERBENA_INVALID_OPTION that names the first wrong one. */
export function resolveConnectOptions(options: ConnectOptions): ResolvedConnectOptions {
  const timeout = (name: keyof ConnectOptions & `${string}Ms`, fallback: number): number =>
    numberOption(name, options[name], fallback, timeoutRange);
  const { regionBytes } = options;
  return {
    host: stringOption('host', options.host, '', 255),
    port: integerOption('port', options.port, 0, { min: 1, max: 65_535 }),
    name: stringOption('name', options.name, `pid ${process.pid}`, 128),
    slots: integerOption('slots', options.slots, 16, limits.slots),
    slotBytes: slotBytesOption(options.slotBytes, DEFAULT_SLOT_BYTES, limits.slotBytes),
    regionBytes:
      regionBytes === undefined
        ? undefined
        : integerOption('regionBytes', regionBytes, 0, limits.regionBytes),
    maxPayloadBytes: integerOption(
      'maxPayloadBytes',
      options.maxPayloadBytes,
      64 * 1024 * 1024,
      limits.payloadBytes,
    ),
    queueSize: integerOption('queueSize', options.queueSize, 1000, { min: 0, max: 32_768 }),
    handshakeTimeoutMs: timeout('handshakeTimeoutMs', 5000),
    requestTimeoutMs: timeout('requestTimeoutMs', 5000),
    rendezvousTimeoutMs: timeout('rendezvousTimeoutMs', 30_000),
    closeTimeoutMs: timeout('closeTimeoutMs', 5000),
  };
}
