// How much a server takes, of connections and requests, and when it sheds load: the options, their
// defaults, and their check.
import { MAX_TIMEOUT_MS, integerOption, numberOption } from '../connection/option-checks.js';
import { limits } from '../handshake/messages.js';
import { memoryOfMachine } from './load-meter.js';
import { MAX_SLOTS } from './slot-map.js';

export interface AdmissionOptions {
  /** Clients at once; default 2000. The device may allow fewer. */
  readonly maxConnections?: number | undefined;
  /**
   * Bytes that the rings and regions of all clients may take; unlimited unless told. Buffers of
   * large payloads come on top, for as long as they are under way.
   */
  readonly maxRegisteredBytes?: number | undefined;
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
  /**
   * Sockets in the set-up at once; four times as many wait for theirs, more are closed at once.
   * Default 512.
   */
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
  /**
   * Load is shed while one of these is exceeded, in percent: CPU (the event loop, or all cores)
   * over five seconds, resident memory of `memoryBudgetBytes`, pending requests of `queueSize`. 100
   * means never. Defaults 90, 80 and 80.
   */
  readonly cpuThresholdPercent?: number | undefined;
  readonly memoryThresholdPercent?: number | undefined;
  readonly queueThresholdPercent?: number | undefined;
  /** Memory that the process may have; default: what its control group or the machine allows. */
  readonly memoryBudgetBytes?: number | undefined;
  /**
   * Bytes of requests in work, and of large answers that wait to be sent, of all clients; what
   * comes on top is refused. Default: half of `memoryBudgetBytes`.
   */
  readonly requestMemoryBytes?: number | undefined;
}

export type ResolvedAdmissionOptions = { readonly [K in keyof AdmissionOptions]-?: number };

const most = Number.MAX_SAFE_INTEGER;
const timeoutRange = { min: 1, max: MAX_TIMEOUT_MS };
const percentRange = { min: 1, max: 100 };

/** Checks them; throws ERR_VERBENA_INVALID_OPTION that names the first wrong one. */
export function resolveAdmissionOptions(options: AdmissionOptions): ResolvedAdmissionOptions {
  type Name = keyof AdmissionOptions;
  const integer = (name: Name, fallback: number, range: { min: number; max: number }): number =>
    integerOption(name, options[name], fallback, range);
  const timeout = (name: Name & `${string}Ms`, fallback: number): number =>
    numberOption(name, options[name], fallback, timeoutRange);
  const percent = (name: Name & `${string}Percent`, fallback: number): number =>
    numberOption(name, options[name], fallback, percentRange);
  const memoryBudgetBytes = integer('memoryBudgetBytes', memoryOfMachine(), { min: 1, max: most });
  const halfOfIt = Math.ceil(memoryBudgetBytes / 2);
  return {
    maxConnections: integer('maxConnections', 2000, { min: 1, max: MAX_SLOTS }),
    maxRegisteredBytes:
      options.maxRegisteredBytes === undefined
        ? Infinity
        : integer('maxRegisteredBytes', 0, { min: 1, max: most }),
    maxRequestsPerConnection: integer('maxRequestsPerConnection', 100, limits.requests),
    queueSize: integer('queueSize', 1000, { min: 1, max: 1_000_000 }),
    handshakeTimeoutMs: timeout('handshakeTimeoutMs', 5000),
    maxPendingHandshakes: integer('maxPendingHandshakes', 512, { min: 1, max: 65_536 }),
    connectionQueueSize: integer('connectionQueueSize', 64, { min: 0, max: 65_536 }),
    connectionQueueTimeoutMs: timeout('connectionQueueTimeoutMs', 1000),
    connectionRatePerAddress: integer('connectionRatePerAddress', 0, { min: 0, max: 1_000_000 }),
    cpuThresholdPercent: percent('cpuThresholdPercent', 90),
    memoryThresholdPercent: percent('memoryThresholdPercent', 80),
    queueThresholdPercent: percent('queueThresholdPercent', 80),
    memoryBudgetBytes,
    requestMemoryBytes: integer('requestMemoryBytes', halfOfIt, { min: 1, max: most }),
  };
}
