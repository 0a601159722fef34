// The public API of Verbena: a server, a client, and what they are described with.
export { createServer } from './server/server.js';
export type { Server, ServerEvents } from './server/api.js';
export type { ServerSnapshot, ServerState, ServerStats, SessionSnapshot } from './server/views.js';
export type { ServerOptions } from './server/options.js';
export type { ReloadOptions, ReloadResult } from './server/reload.js';
export { startAdmin } from './admin/start-admin.js';
export type { AdminOptions, AdminServer } from './admin/admin-server.js';
export { createMetrics } from './metrics/create-metrics.js';
export type { Metrics } from './metrics/metrics.js';
export { probeLimits } from './server/probe-limits.js';
export type { ProbedLimit, ProbeOptions, ProbeResult } from './server/probe-limits.js';
export type { Capacity, CapacityLimit } from './server/capacity.js';
export type { Session, SessionEvents } from './server/session.js';
export type { WorkerAffinity } from './workers/affinity.js';
export type { PlacementStrategy } from './workers/placement.js';
export type { WorkerState, WorkerStats } from './workers/worker-slot.js';
export type { IncomingRequest, RequestHandler } from './connection/served-request.js';

export { connect } from './client/connect.js';
export type {
  Connection,
  ConnectionEvents,
  ConnectionState,
  ReadOptions,
  WriteOptions,
} from './client/connection.js';
export { ClientInstancePool } from './client/instance-pool.js';
export type {
  AcquireOptions,
  ClientInstancePoolOptions,
  PooledClient,
} from './client/instance-pool.js';
export type { ConnectOptions, ReconnectOptions, RetryOptions } from './client/options.js';
export type { RetryCounts } from './client/retrier.js';
export type { RequestPhases } from './connection/request-phases.js';
export type { RequestOptions } from './connection/requester.js';

export { allocate, release } from './rdma/allocation.js';

export { RequestError, VerbenaError, errorCodes } from './errors.js';
export type { VerbenaErrorCode, VerbenaErrorOptions } from './errors.js';

export type { LoadChange, LoadResource, LoadSheddingStats } from './admission/load-shedder.js';
export type { RequestGateStats, RequestRefusalReason } from './admission/request-gate.js';
export type { WaitingLineStats } from './admission/waiting-line.js';
export type { AdmissionRefusalReason } from './server/refusal.js';
export type { Durations } from './connection/duration-histogram.js';
export type { ErrorAnswerKind, TrafficStats } from './connection/traffic-stats.js';
export type { Pem } from './handshake/tls.js';
export type { BufferPoolStats } from './rdma/buffer-pool.js';
export { readSoftCounters } from './rdma/device-counters.js';
export type { DeviceCounters } from './rdma/device-counters.js';
export type { DeviceOptions } from './rdma/device.js';
export type { OwnerNode, ResourceKind, ResourceNode, ResourceRecord } from './rdma/registry.js';
