// The settings of `verbena serve`: one table that names each one's key, flag, variable and default.
import { placementStrategies } from '../workers/placement.js';

/** What a value may be; `schema.ts` turns each kind into a check. */
export type SettingKind =
  | 'text'
  | 'path'
  | 'port'
  | 'count'
  | 'bytes'
  | 'percent'
  | 'seconds'
  | 'milliseconds'
  | 'workers'
  | 'strategy'
  | 'affinity'
  | 'logLevel';

export interface Setting {
  /** Key in the config file; the flag is its kebab-case form. */
  readonly key: string;
  readonly kind: SettingKind;
  readonly env: string;
  readonly help: string;
  readonly default?: string | number;
  /** Smallest value, for numbers. */
  readonly min?: number;
  /** Largest value, for numbers. */
  readonly max?: number;
  /** A running server keeps the value that it was started with. */
  readonly needsRestart?: true;
}

/** TCP port of a server, where none is given. */
export const defaultPort = 4791;

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;

export const serveSettings = [
  {
    key: 'device',
    kind: 'text',
    env: 'VERBENA_DEVICE',
    needsRestart: true,
    default: 'auto',
    help: 'soft, the name of an RDMA device, or auto: the first active device, else soft',
  },
  {
    key: 'softAddr',
    kind: 'text',
    env: 'VERBENA_SOFT_ADDR',
    needsRestart: true,
    help: 'local IP address of the soft device (UDP port 4791)',
  },
  {
    key: 'host',
    kind: 'text',
    env: 'VERBENA_HOST',
    needsRestart: true,
    default: '127.0.0.1',
    help: 'address to listen on for TLS connections',
  },
  {
    key: 'port',
    kind: 'port',
    env: 'VERBENA_PORT',
    needsRestart: true,
    default: defaultPort,
    help: 'TCP port to listen on; 0 takes a free one',
  },
  { key: 'cert', kind: 'path', env: 'VERBENA_CERT', help: 'certificate chain, PEM' },
  { key: 'key', kind: 'path', env: 'VERBENA_KEY', help: 'private key of the certificate, PEM' },
  {
    key: 'devCert',
    kind: 'path',
    env: 'VERBENA_DEV_CERT',
    help: 'folder for a development certificate, made when missing: ca.pem, cert.pem, key.pem',
  },
  {
    key: 'maxConnections',
    kind: 'count',
    env: 'VERBENA_MAX_CONNECTIONS',
    default: 2000,
    min: 1,
    max: 65_536,
    help: 'sessions at most; the next client is told to come back later',
  },
  {
    key: 'maxRegisteredBytes',
    kind: 'bytes',
    env: 'VERBENA_MAX_REGISTERED_BYTES',
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    help: 'memory for the rings and regions of all clients; unlimited unless set',
  },
  {
    key: 'maxRequestsPerConnection',
    kind: 'count',
    env: 'VERBENA_MAX_REQUESTS_PER_CONNECTION',
    default: 100,
    min: 1,
    max: 4096,
    help: 'requests of one client in work at once',
  },
  {
    key: 'queueSize',
    kind: 'count',
    env: 'VERBENA_QUEUE_SIZE',
    default: 1000,
    min: 1,
    max: 1_000_000,
    help: 'requests of all clients taken and not answered; the next is told to come back later',
  },
  {
    key: 'handshakeTimeoutMs',
    kind: 'milliseconds',
    env: 'VERBENA_HANDSHAKE_TIMEOUT_MS',
    default: 5000,
    min: 1,
    max: 2 ** 31 - 1,
    help: 'from TCP accept to the end of the set-up; then the socket is destroyed',
  },
  {
    key: 'maxPendingHandshakes',
    kind: 'count',
    env: 'VERBENA_MAX_PENDING_HANDSHAKES',
    default: 512,
    min: 1,
    max: 65_536,
    help: 'sockets in their set-up at once; four times as many wait, more are closed',
  },
  {
    key: 'connectionQueueSize',
    kind: 'count',
    env: 'VERBENA_CONNECTION_QUEUE_SIZE',
    default: 64,
    min: 0,
    max: 65_536,
    help: 'clients that may wait for a connection when all are taken; 0 refuses at once',
  },
  {
    key: 'connectionQueueTimeoutMs',
    kind: 'milliseconds',
    env: 'VERBENA_CONNECTION_QUEUE_TIMEOUT_MS',
    default: 1000,
    min: 1,
    max: 2 ** 31 - 1,
    help: 'how long one waits at most, then it is told to come back later',
  },
  {
    key: 'connectionRatePerAddress',
    kind: 'count',
    env: 'VERBENA_CONNECTION_RATE_PER_ADDRESS',
    default: 0,
    min: 0,
    max: 1_000_000,
    help: 'connections of one address a second, and at once; 0 for no limit',
  },
  {
    key: 'cpuThresholdPercent',
    kind: 'percent',
    env: 'VERBENA_CPU_THRESHOLD_PERCENT',
    default: 90,
    min: 1,
    max: 100,
    help: 'load is shed above this use of CPU, over 5 s; 100: never',
  },
  {
    key: 'memoryThresholdPercent',
    kind: 'percent',
    env: 'VERBENA_MEMORY_THRESHOLD_PERCENT',
    default: 80,
    min: 1,
    max: 100,
    help: 'load is shed above this share of memoryBudgetBytes; 100: never',
  },
  {
    key: 'memoryBudgetBytes',
    kind: 'bytes',
    env: 'VERBENA_MEMORY_BUDGET_BYTES',
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    help: 'memory that the process may have; unset, what its control group or the machine allows',
  },
  {
    key: 'requestMemoryBytes',
    kind: 'bytes',
    env: 'VERBENA_REQUEST_MEMORY_BYTES',
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
    help: 'memory for requests in work and answers that wait; unset, half of memoryBudgetBytes',
  },
  {
    key: 'queueThresholdPercent',
    kind: 'percent',
    env: 'VERBENA_QUEUE_THRESHOLD_PERCENT',
    default: 80,
    min: 1,
    max: 100,
    help: 'load is shed above this share of queueSize; 100: never',
  },
  {
    key: 'maxPayloadBytes',
    kind: 'bytes',
    env: 'VERBENA_MAX_PAYLOAD_BYTES',
    default: 64 * 2 ** 20,
    min: 1,
    max: 2 ** 30,
    help: 'largest request',
  },
  {
    key: 'regionBytes',
    kind: 'bytes',
    env: 'VERBENA_REGION_BYTES',
    default: 8192,
    min: 0,
    max: 2 ** 40,
    help: 'memory of each session for one-sided operations; 0 for none',
  },
  {
    key: 'requestTimeoutMs',
    kind: 'milliseconds',
    env: 'VERBENA_REQUEST_TIMEOUT_MS',
    default: 5000,
    min: 1,
    max: 2 ** 31 - 1,
    help: 'a request that takes longer is given up',
  },
  {
    key: 'keepaliveSec',
    kind: 'seconds',
    env: 'VERBENA_KEEPALIVE_SEC',
    default: 60,
    min: 1,
    max: 86_400,
    help: 'a client that is silent for so long is gone',
  },
  {
    key: 'drainTimeoutMs',
    kind: 'milliseconds',
    env: 'VERBENA_DRAIN_TIMEOUT_MS',
    default: 10_000,
    min: 1,
    max: 2 ** 31 - 1,
    help: 'how long clients may finish their work after SIGTERM',
  },
  {
    key: 'handler',
    kind: 'path',
    env: 'VERBENA_HANDLER',
    needsRestart: true,
    help: 'module whose default export answers requests; unless set they are echoed',
  },
  {
    key: 'workers',
    kind: 'workers',
    env: 'VERBENA_WORKERS',
    needsRestart: true,
    default: 0,
    min: 0,
    max: 256,
    help: 'threads that serve the clients; 0: the main thread does; auto: processors less two',
  },
  {
    key: 'workerStrategy',
    kind: 'strategy',
    env: 'VERBENA_WORKER_STRATEGY',
    needsRestart: true,
    default: 'round-robin',
    help: `how a client finds its worker: ${placementStrategies.join(', ')}`,
  },
  {
    key: 'workerAffinity',
    kind: 'affinity',
    env: 'VERBENA_WORKER_AFFINITY',
    needsRestart: true,
    default: 'off',
    help: 'processors that workers are bound to: off, auto, or one for each, such as 2,3,6-9',
  },
  {
    key: 'workerChannelSize',
    kind: 'count',
    env: 'VERBENA_WORKER_CHANNEL_SIZE',
    needsRestart: true,
    default: 256,
    min: 1,
    max: 1_000_000,
    help: 'requests that a worker has taken and not answered; the next comes back later',
  },
  {
    key: 'senderChannelSize',
    kind: 'count',
    env: 'VERBENA_SENDER_CHANNEL_SIZE',
    needsRestart: true,
    default: 512,
    min: 1,
    max: 1_000_000,
    help: 'answers of a worker that wait to be sent; beyond, requests come back later',
  },
  {
    key: 'workerHeapMb',
    kind: 'count',
    env: 'VERBENA_WORKER_HEAP_MB',
    needsRestart: true,
    min: 16,
    max: 2 ** 20,
    help: 'memory of a worker for JavaScript objects, in MiB; unset, what Node gives a thread',
  },
  {
    key: 'adminPort',
    kind: 'port',
    env: 'VERBENA_ADMIN_PORT',
    needsRestart: true,
    help: 'TCP port of the status page and /metrics, off unless set; 0 takes a free one',
  },
  {
    key: 'adminHost',
    kind: 'text',
    env: 'VERBENA_ADMIN_HOST',
    needsRestart: true,
    default: '127.0.0.1',
    help: 'address of the admin port; whoever reaches it sees the names of all clients',
  },
  {
    key: 'logLevel',
    kind: 'logLevel',
    env: 'VERBENA_LOG_LEVEL',
    default: 'info',
    help: `least important log entry shown: ${logLevels.join(', ')}`,
  },
] as const satisfies readonly Setting[];

/** The flag of a setting: `maxConnections` → `--max-connections`. */
export function flagOf(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
