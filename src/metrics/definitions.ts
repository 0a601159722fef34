// Every metric of a server: name, meaning, and where its value is read. A new one is a row here and
// in docs/metrics.md.
import { loadResources, type LoadResource } from '../admission/load-shedder.js';
import type { Durations } from '../connection/duration-histogram.js';
import type { DeviceCounters } from '../rdma/device-counters.js';
import type { ServerStats } from '../server/views.js';

/** What one scrape reads, once for all metrics. */
export interface Reading {
  readonly version: string;
  /** Clients that the server has room for. */
  readonly capacity: number;
  readonly stats: ServerStats;
  readonly deviceCounters: DeviceCounters;
  /** Time that the event loop was not waiting for events. */
  readonly eventLoopBusySeconds: number;
}

/** A number, or one for each value of the label. */
export type Values = number | Readonly<Record<string, number>>;

export interface NumberDefinition {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  /** Name of the label; without one there is a single number. */
  readonly label?: string;
  readonly read: (reading: Reading) => Values;
}

export interface HistogramDefinition {
  readonly name: string;
  readonly help: string;
  readonly read: (reading: Reading) => Durations;
}

/** Codes of refusals that say "not now"; a set-up that fails with another one went wrong. */
const rejections: ReadonlySet<string> = new Set([
  'ERR_VERBENA_RESOURCE_EXHAUSTED',
  'ERR_VERBENA_DRAINING',
]);

/** `ERR_VERBENA_PEER_CLOSED` → `peer_closed`. */
function labelOf(code: string): string {
  return code.replace(/^ERR_VERBENA_/, '').toLowerCase();
}

function byLabel(
  counts: Readonly<Record<string, number>>,
  includes: (code: string) => boolean = () => true,
): Record<string, number> {
  const chosen = Object.entries(counts).filter(([code]) => includes(code));
  return Object.fromEntries(chosen.map(([code, count]) => [labelOf(code), count]));
}

/** Refusals for want of room by what there was none of; the rest is the device's. */
function noRoom({ refused, noRoom: counts, droppedByRate }: ServerStats): Record<string, number> {
  const { full, waited, addressRate, shedding } = counts;
  const exhausted = refused['ERR_VERBENA_RESOURCE_EXHAUSTED'] ?? 0;
  return {
    all_taken: full,
    waited_too_long: waited,
    address_rate: addressRate + droppedByRate,
    load_shedding: shedding,
    resource_exhausted: exhausted - full - waited - addressRate - shedding,
  };
}

function byResource(value: (resource: LoadResource) => number): Record<string, number> {
  return Object.fromEntries(loadResources.map((resource) => [resource, value(resource)]));
}

function requestsInFlight({ traffic }: ServerStats): number {
  const { requests, responses, requestErrors, requestsAbandoned } = traffic;
  return requests - responses - requestErrors - requestsAbandoned;
}

function requestResults({ traffic }: ServerStats): Record<string, number> {
  const { errorAnswers: errors } = traffic;
  return {
    ok: traffic.responses,
    application_error: errors.application,
    handler_failed: errors.handlerFailed,
    timed_out: errors.timedOut,
    cancelled: errors.cancelled,
    response_too_large: errors.responseTooLarge,
    rendezvous_failed: errors.rendezvousFailed,
    rejected: errors.exhausted + errors.draining,
    abandoned: traffic.requestsAbandoned,
  };
}

const connectionMetrics: readonly NumberDefinition[] = [
  {
    name: 'verbena_info',
    help: 'Always 1; the label is the version of Verbena.',
    type: 'gauge',
    label: 'version',
    read: ({ version }) => ({ [version]: 1 }),
  },
  {
    name: 'verbena_draining',
    help: '1 while the server takes no new clients, else 0.',
    type: 'gauge',
    read: ({ stats }) => (stats.state === 'listening' ? 0 : 1),
  },
  {
    name: 'verbena_connections_active',
    help: 'Clients connected now.',
    type: 'gauge',
    read: ({ stats }) => stats.connections,
  },
  {
    name: 'verbena_connections_limit',
    help: 'Clients that configuration, device and system have room for.',
    type: 'gauge',
    read: ({ capacity }) => capacity,
  },
  {
    name: 'verbena_connection_pool_utilization',
    help: 'Share of the room for clients that is taken, 0 to 1.',
    type: 'gauge',
    read: ({ stats, capacity }) => stats.connections / capacity,
  },
  {
    name: 'verbena_connections_accepted_total',
    help: 'Clients whose set-up succeeded.',
    type: 'counter',
    read: ({ stats }) => stats.accepted,
  },
  {
    name: 'verbena_connections_rejected_total',
    help: 'Clients that were told to come back later, by reason.',
    type: 'counter',
    label: 'reason',
    read: ({ stats }) => ({
      draining: 0,
      ...byLabel(stats.refused, (code) => rejections.has(code)),
      ...noRoom(stats),
      too_many_handshakes: stats.turnedAway,
    }),
  },
  {
    name: 'verbena_connections_waiting',
    help: 'Clients that wait for a connection, all of which are taken.',
    type: 'gauge',
    read: ({ stats }) => stats.connectionQueue.waiting,
  },
  {
    name: 'verbena_connections_waited_total',
    help: 'Clients that waited for a connection, by what became of them.',
    type: 'counter',
    label: 'result',
    read: ({ stats: { connectionQueue: queue } }) => ({
      served: queue.served,
      timed_out: queue.tooLate,
      left: queue.left,
    }),
  },
  {
    name: 'verbena_connections_closed_total',
    help: 'Connections that ended, by reason.',
    type: 'counter',
    label: 'reason',
    read: ({ stats }) => byLabel(stats.ended),
  },
  {
    name: 'verbena_handshakes_pending',
    help: 'Sockets whose set-up is not finished.',
    type: 'gauge',
    read: ({ stats }) => stats.pendingHandshakes,
  },
  {
    name: 'verbena_handshake_failures_total',
    help: 'Set-ups that went wrong, by cause.',
    type: 'counter',
    label: 'cause',
    read: ({ stats }) => byLabel(stats.refused, (code) => !rejections.has(code)),
  },
  {
    name: 'verbena_queue_pair_failures_total',
    help: 'Queue pairs that broke and flushed their work, by the status of the cause.',
    type: 'counter',
    label: 'cause',
    read: ({ stats }) => byLabel(stats.queuePairFailures),
  },
];

const requestMetrics: readonly NumberDefinition[] = [
  {
    name: 'verbena_requests_total',
    help: 'Requests that are over, by result.',
    type: 'counter',
    label: 'result',
    read: ({ stats }) => requestResults(stats),
  },
  {
    name: 'verbena_requests_rejected_total',
    help: 'Requests refused without running the handler, by reason.',
    type: 'counter',
    label: 'reason',
    read: ({ stats: { traffic, requestQueue } }) => ({
      connection_limit: requestQueue.refused.connectionLimit,
      queue_full: requestQueue.refused.queueFull,
      answers_waiting: requestQueue.refused.answersWaiting,
      memory: requestQueue.refused.memory,
      load_shedding: requestQueue.refused.shedding,
      draining: traffic.errorAnswers.draining,
    }),
  },
  {
    name: 'verbena_request_queue_depth',
    help: 'Requests of all clients that were taken and are not answered.',
    type: 'gauge',
    read: ({ stats }) => stats.requestQueue.pending,
  },
  {
    name: 'verbena_request_bytes',
    help: 'Bytes of those requests, and of large answers that wait to be sent.',
    type: 'gauge',
    read: ({ stats }) => stats.requestQueue.bytes,
  },
  {
    name: 'verbena_request_queue_limit',
    help: 'How many of those there may be (queueSize).',
    type: 'gauge',
    read: ({ stats }) => stats.requestQueue.queueSize,
  },
  {
    name: 'verbena_requests_in_flight',
    help: 'Requests taken and not answered.',
    type: 'gauge',
    read: ({ stats }) => requestsInFlight(stats),
  },
];

const loadMetrics: readonly NumberDefinition[] = [
  {
    name: 'verbena_load_shedding_active',
    help: '1 while load is shed, else 0.',
    type: 'gauge',
    read: ({ stats }) => Number(stats.loadShedding.isActive),
  },
  {
    name: 'verbena_load_shedding_reason',
    help: '1 for each resource of which there is too much load now, else 0.',
    type: 'gauge',
    label: 'resource',
    read: ({ stats: { loadShedding } }) =>
      byResource((resource) => Number(loadShedding.reasons.includes(resource))),
  },
  {
    name: 'verbena_load_shedding_begun_total',
    help: 'Times that there came to be too much load, by resource.',
    type: 'counter',
    label: 'resource',
    read: ({ stats }) => stats.loadShedding.timesOn,
  },
  {
    name: 'verbena_load_ratio',
    help: 'What is compared with the thresholds, by resource: 1 is all there is.',
    type: 'gauge',
    label: 'resource',
    read: ({ stats: { loadShedding } }) =>
      byResource((resource) => loadShedding.reading[resource] / 100),
  },
];

/** A counter that is one of the traffic's numbers. */
function traffic(
  name: string,
  help: string,
  key: Exclude<keyof ServerStats['traffic'], 'errorAnswers'>,
): NumberDefinition {
  return { name, help, type: 'counter', read: ({ stats }) => stats.traffic[key] };
}

const trafficMetrics: readonly NumberDefinition[] = [
  traffic('verbena_messages_sent_total', 'Messages sent through RDMA.', 'messagesSent'),
  traffic('verbena_messages_received_total', 'Messages received.', 'messagesReceived'),
  traffic(
    'verbena_sends_total',
    'SEND work requests; each has one or more messages.',
    'sendsPosted',
  ),
  traffic('verbena_sent_bytes_total', 'Bytes of SENDs, headers included.', 'bytesSent'),
  traffic('verbena_received_bytes_total', 'Bytes of SENDs received.', 'bytesReceived'),
  traffic(
    'verbena_credit_messages_sent_total',
    'SENDs that held nothing but credits.',
    'creditMessagesSent',
  ),
  traffic(
    'verbena_credit_stalls_total',
    'Times that sending to a client stopped for want of credits or a free slot.',
    'creditStalls',
  ),
  traffic('verbena_offers_total', 'Large responses offered for RDMA READ.', 'offers'),
  traffic(
    'verbena_offers_expired_total',
    'Large responses that the client did not read in time.',
    'offersExpired',
  ),
  traffic('verbena_pulls_total', 'Large requests read from clients by RDMA READ.', 'pulls'),
  traffic('verbena_pulled_bytes_total', 'Bytes read from clients by RDMA READ.', 'bytesPulled'),
  traffic('verbena_immediates_total', 'Writes with immediate from clients.', 'immediates'),
];

const resourceMetrics: readonly NumberDefinition[] = [
  {
    name: 'verbena_resources',
    help: 'Native objects that are open, by kind.',
    type: 'gauge',
    label: 'kind',
    read: ({ stats: { resources } }) => {
      const { pollGroup, ...others } = resources;
      return { ...others, poll_group: pollGroup };
    },
  },
  {
    name: 'verbena_registered_bytes',
    help: 'Bytes registered with the device as memory regions.',
    type: 'gauge',
    read: ({ stats }) => stats.registeredBytes,
  },
  {
    name: 'verbena_buffer_pool_bytes',
    help: 'Bytes of buffers, by state: lent out, or free and kept for the next user.',
    type: 'gauge',
    label: 'state',
    read: ({ stats: { pool } }) => ({ lent: pool.lentBytes, free: pool.freeBytes }),
  },
  {
    name: 'verbena_buffer_pool_buffers_total',
    help: 'Buffers lent out so far, by where they came from.',
    type: 'counter',
    label: 'source',
    read: ({ stats: { pool } }) => ({ allocated: pool.allocations, reused: pool.reuses }),
  },
];

/** A counter that is one of the poll group's numbers. */
function pollGroup(
  name: string,
  help: string,
  key: keyof NonNullable<ServerStats['pollGroup']>,
): NumberDefinition {
  return { name, help, type: 'counter', read: ({ stats }) => stats.pollGroup?.[key] ?? 0 };
}

const deviceMetrics: readonly NumberDefinition[] = [
  pollGroup('verbena_completions_total', 'Completions handed to JavaScript.', 'completions'),
  pollGroup('verbena_completion_batches_total', 'Batches that they came in.', 'batches'),
  pollGroup('verbena_polls_total', 'Polls of a completion queue.', 'polls'),
  pollGroup(
    'verbena_wakeups_total',
    'Times that a completion woke the sleeping thread.',
    'wakeups',
  ),
  pollGroup('verbena_spins_total', 'Times that the thread spun before it slept.', 'spins'),
  pollGroup('verbena_spin_hits_total', 'Spins during which work arrived.', 'spinHits'),
  {
    name: 'verbena_spin_seconds_total',
    help: 'Time spent in those spins: the thread waited, although it looked busy.',
    type: 'counter',
    read: ({ stats }) => (stats.pollGroup?.spinNs ?? 0) / 1e9,
  },
  pollGroup('verbena_posts_total', 'Work requests posted.', 'posts'),
  pollGroup('verbena_post_batches_total', 'Batches that they went in.', 'postBatches'),
  pollGroup(
    'verbena_post_failures_total',
    'Work requests that could not be posted.',
    'postFailures',
  ),
  {
    name: 'verbena_completion_queues',
    help: 'Completion queues, by state: polled all the time, or waiting for a notification.',
    type: 'gauge',
    label: 'state',
    read: ({ stats }) => ({
      hot: stats.pollGroup?.hotCqs ?? 0,
      armed: stats.pollGroup?.armedCqs ?? 0,
    }),
  },
  {
    name: 'verbena_device_counter_total',
    help: "The device's own counters, under its own names: RNR, retries and errors among them.",
    type: 'counter',
    label: 'counter',
    read: ({ deviceCounters }) => deviceCounters,
  },
  {
    name: 'verbena_event_loop_busy_seconds_total',
    help: 'Time that the event loop was busy; its rate is the utilisation.',
    type: 'counter',
    read: ({ eventLoopBusySeconds }) => eventLoopBusySeconds,
  },
];

/** A number of each worker; none where there are no workers. */
function worker(
  name: string,
  type: NumberDefinition['type'],
  help: string,
  valueOf: (stats: ServerStats['workers'][number]) => number,
): NumberDefinition {
  const read = ({ stats }: Reading): Values =>
    Object.fromEntries(stats.workers.map((each) => [String(each.index), valueOf(each)]));
  return { name, help, type, label: 'worker', read };
}

const workerMetrics: readonly NumberDefinition[] = [
  worker(
    'verbena_worker_up',
    'gauge',
    'Whether the worker takes clients: 1, or 0 while it starts, drains or is down.',
    ({ state }) => (state === 'ready' ? 1 : 0),
  ),
  worker(
    'verbena_worker_replacements_total',
    'counter',
    'Times that the worker was lost and replaced.',
    ({ replacements }) => replacements,
  ),
  worker(
    'verbena_worker_sessions',
    'gauge',
    'Clients that the worker serves, those in their set-up included.',
    ({ sessions }) => sessions,
  ),
  worker(
    'verbena_worker_requests_in_work',
    'gauge',
    'Requests that the worker took and did not answer.',
    ({ requestsInWork }) => requestsInWork,
  ),
  worker(
    'verbena_worker_received_total',
    'counter',
    'Requests that came to the worker.',
    ({ received }) => received,
  ),
  worker(
    'verbena_worker_received_batches_total',
    'counter',
    'Batches of completions that the worker took.',
    ({ receivedBatches }) => receivedBatches,
  ),
  worker(
    'verbena_worker_sent_total',
    'counter',
    'Answers that the worker sent.',
    ({ sent }) => sent,
  ),
  worker(
    'verbena_worker_sent_batches_total',
    'counter',
    'SENDs of the worker; each has one or more messages.',
    ({ sentBatches }) => sentBatches,
  ),
  worker(
    'verbena_worker_rejected_total',
    'counter',
    'Requests that the worker refused for want of room.',
    ({ rejected }) => rejected,
  ),
  worker(
    'verbena_worker_busy_seconds_total',
    'counter',
    "Time that the worker's event loop was busy; its rate is the utilisation.",
    ({ busySeconds }) => busySeconds,
  ),
];

export const numberMetrics: readonly NumberDefinition[] = [
  ...connectionMetrics,
  ...requestMetrics,
  ...loadMetrics,
  ...trafficMetrics,
  ...resourceMetrics,
  ...deviceMetrics,
  ...workerMetrics,
];

export const histogramMetrics: readonly HistogramDefinition[] = [
  {
    name: 'verbena_handshake_duration_seconds',
    help: 'From TCP accept to the end of a set-up that succeeded.',
    read: ({ stats }) => stats.handshakeDurations,
  },
  {
    name: 'verbena_request_duration_seconds',
    help: 'From the arrival of a request to its answer, of those that were taken.',
    read: ({ stats }) => stats.requestDurations,
  },
  {
    name: 'verbena_request_start_delay_seconds',
    help: 'From the arrival of a request to the moment that it is taken.',
    read: ({ stats }) => stats.requestStartDelays,
  },
];
