// The public API of Verbena: a server, a client, and what they are described with.
export { createServer } from './server/server.js';
export type {
  Server,
  ServerEvents,
  ServerSnapshot,
  ServerState,
  ServerStats,
  SessionSnapshot,
} from './server/server.js';
export type { ServerOptions } from './server/options.js';
export { probeLimits } from './server/probe-limits.js';
export type { ProbedLimit, ProbeOptions, ProbeResult } from './server/probe-limits.js';
export type { Capacity, CapacityLimit } from './server/capacity.js';
export type { Session, SessionEvents } from './server/session.js';
export type { IncomingRequest, RequestHandler } from './connection/responder.js';

export { connect } from './client/connect.js';
export type {
  Connection,
  ConnectionEvents,
  ConnectionState,
  WriteOptions,
} from './client/connection.js';
export type { ConnectOptions, ReconnectOptions } from './client/options.js';
export type { RequestOptions } from './connection/requester.js';

export { RequestError, VerbenaError, errorCodes } from './errors.js';
export type { VerbenaErrorCode, VerbenaErrorOptions } from './errors.js';

export type { TrafficStats } from './connection/traffic-stats.js';
export type { Pem } from './handshake/tls.js';
export type { BufferPoolStats } from './rdma/buffer-pool.js';
export type { DeviceOptions } from './rdma/device.js';
export type { OwnerNode, ResourceKind, ResourceNode, ResourceRecord } from './rdma/registry.js';
