// The server's options: what they mean, their defaults, and their check.
import type { RequestHandler } from '../connection/responder.js';
import {
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
import type { Session } from './session.js';
import { MAX_SLOTS } from './slot-map.js';

/** Options of `createServer`. Bytes and milliseconds unless the name says otherwise. */
export interface ServerOptions extends DeviceOptions {
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
  /**
   * Called for each request. What it returns is the response; what it throws is an error for that
   * request only.
   */
  readonly handler: RequestHandler<Session>;
  /** Clients at once; default 2000. The device may allow fewer. */
  readonly maxConnections?: number | undefined;
  /**
   * Bytes that the rings and regions of all clients may take; unlimited unless told. Buffers of
   * large payloads come on top, for as long as they are under way.
   */
  readonly maxRegisteredBytes?: number | undefined;
  /** SENDs under way each way of a client at most, and receives posted; default 16. */
  readonly slots?: number | undefined;
  /**
   * Size of one SEND; payloads up to 16 bytes less go without rendezvous. Divisible by 64; default
   * 4096.
   */
  readonly slotBytes?: number | undefined;
  /**
   * Memory of each session that its client reaches by one-sided operations; 0 for none, default
   * 8192.
   */
  readonly regionBytes?: number | undefined;
  /** Largest request; default 64 MiB. */
  readonly maxPayloadBytes?: number | undefined;
  /**
   * Requests of one client in work, or answered and not taken, at once; default 100. A client that
   * goes on sending beyond is closed with ERR_VERBENA_OVERUSE.
   */
  readonly maxRequestsPerConnection?: number | undefined;
  /**
   * Requests of all clients taken and not answered; what comes on top is refused with
   * ERR_VERBENA_RESOURCE_EXHAUSTED and told when to come back. Default 1000.
   */
  readonly queueSize?: number | undefined;
  /** From TCP accept to the end of the set-up; then the socket is destroyed. Default 5000. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** Sockets in the set-up at once; more are closed at once. Default 512. */
  readonly maxPendingHandshakes?: number | undefined;
  /**
   * Clients that may wait for a slot when all are taken, in the order in which they came; 0 refuses
   * at once. Default 64.
   */
  readonly connectionQueueSize?: number | undefined;
  /** How long one waits at most, within its `handshakeTimeoutMs`; default 1000. */
  readonly connectionQueueTimeoutMs?: number | undefined;
  /**
   * Connections of one address (of the first half of an IPv6 address) a second, and at once; what
   * comes on top is refused before its set-up. 0 (default) for no limit: clients behind one address
   * are as many as they like.
   */
  readonly connectionRatePerAddress?: number | undefined;
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
      | 'maxConnections'
      | 'maxRegisteredBytes'
      | 'slots'
      | 'slotBytes'
      | 'regionBytes'
      | 'maxPayloadBytes'
      | 'maxRequestsPerConnection'
      | 'queueSize'
      | 'handshakeTimeoutMs'
      | 'maxPendingHandshakes'
      | 'connectionQueueSize'
      | 'connectionQueueTimeoutMs'
      | 'connectionRatePerAddress'
      | 'keepaliveSec'
      | 'requestTimeoutMs'
      | 'rendezvousTimeoutMs'
      | 'closeTimeoutMs'
      | 'drainTimeoutMs'
  ]: NonNullable<ServerOptions[K]>;
} & Pick<ServerOptions, 'handler' | 'devicePort' | 'gidIndex'>;

/** What each client is granted unless told otherwise. */
export const defaultSession = { slots: 16, slotBytes: 4096, regionBytes: 8192 };

const timeoutRange = { min: 1, max: MAX_TIMEOUT_MS };

/** Checks every option; throws ERR_VERBENA_INVALID_OPTION that names the first wrong one. */
export function resolveServerOptions(options: ServerOptions): ResolvedServerOptions {
  if (typeof options.handler !== 'function') {
    throw new VerbenaError('ERR_VERBENA_INVALID_OPTION', 'handler must be a function');
  }
  const pems: Readonly<Record<string, unknown>> = { cert: options.cert, key: options.key };
  for (const name of ['cert', 'key']) {
    if (pems[name] !== undefined) continue;
    throw new VerbenaError('ERR_VERBENA_INVALID_OPTION', `${name} is missing: a server needs PEM`);
  }
  const timeout = (name: keyof ServerOptions & `${string}Ms`, fallback: number): number =>
    numberOption(name, options[name], fallback, timeoutRange);
  const integer = (
    name:
      | 'port'
      | 'maxConnections'
      | 'maxRegisteredBytes'
      | 'slots'
      | 'regionBytes'
      | 'maxPayloadBytes'
      | 'queueSize'
      | 'maxPendingHandshakes'
      | 'connectionQueueSize'
      | 'connectionRatePerAddress',
    fallback: number,
    range: { min: number; max: number },
  ): number => integerOption(name, options[name], fallback, range);
  return {
    handler: options.handler,
    devicePort: options.devicePort,
    gidIndex: options.gidIndex,
    host: stringOption('host', options.host, '127.0.0.1', 255),
    port: integer('port', 0, { min: 0, max: 65_535 }),
    maxConnections: integer('maxConnections', 2000, { min: 1, max: MAX_SLOTS }),
    maxRegisteredBytes:
      options.maxRegisteredBytes === undefined
        ? Infinity
        : integer('maxRegisteredBytes', 0, { min: 1, max: Number.MAX_SAFE_INTEGER }),
    slots: integer('slots', defaultSession.slots, limits.slots),
    slotBytes: slotBytesOption(options.slotBytes, defaultSession.slotBytes, limits.slotBytes),
    regionBytes: integer('regionBytes', defaultSession.regionBytes, limits.regionBytes),
    maxPayloadBytes: integer('maxPayloadBytes', 64 * 1024 * 1024, limits.payloadBytes),
    maxRequestsPerConnection: integerOption(
      'maxRequestsPerConnection',
      options.maxRequestsPerConnection,
      100,
      limits.requests,
    ),
    queueSize: integer('queueSize', 1000, { min: 1, max: 1_000_000 }),
    maxPendingHandshakes: integer('maxPendingHandshakes', 512, { min: 1, max: 65_536 }),
    connectionQueueSize: integer('connectionQueueSize', 64, { min: 0, max: 65_536 }),
    connectionQueueTimeoutMs: timeout('connectionQueueTimeoutMs', 1000),
    connectionRatePerAddress: integer('connectionRatePerAddress', 0, { min: 0, max: 1_000_000 }),
    keepaliveSec: numberOption('keepaliveSec', options.keepaliveSec, 60, {
      min: 0.05,
      max: 86_400,
    }),
    handshakeTimeoutMs: timeout('handshakeTimeoutMs', 5000),
    requestTimeoutMs: timeout('requestTimeoutMs', 5000),
    rendezvousTimeoutMs: timeout('rendezvousTimeoutMs', 30_000),
    closeTimeoutMs: timeout('closeTimeoutMs', 2000),
    drainTimeoutMs: numberOption('drainTimeoutMs', options.drainTimeoutMs, 10_000, {
      min: 0,
      max: 86_400_000,
    }),
  };
}
