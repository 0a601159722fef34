// Makes what the options ask for: sessions served by this thread, or by workers.
import { RequestGate } from '../admission/request-gate.js';
import { DurationHistogram } from '../connection/duration-histogram.js';
import type { RequestHandler } from '../connection/served-request.js';
import { newTrafficStats } from '../connection/traffic-stats.js';
import type { VerbenaError } from '../errors.js';
import { loadAddon } from '../native/load.js';
import type { PortChoice } from '../rdma/addressing.js';
import type { Device, DeviceOptions } from '../rdma/device.js';
import { processorsOf } from '../workers/affinity.js';
import type { DataPlane } from '../workers/data-plane.js';
import { loadHandler } from '../workers/handler-module.js';
import { LocalPlane } from '../workers/local-plane.js';
import type { SessionDataOptions } from '../workers/local-session-data.js';
import type { Session } from '../workers/session.js';
import { WorkerPlane } from '../workers/worker-plane.js';
import { WorkerPool } from '../workers/worker-pool.js';
import type { ResolvedServerOptions, ServerOptions } from './options.js';

export interface PlaneOptions {
  /** Start of the owners' names in the registry. */
  readonly ownerPrefix: string;
  readonly device: Device;
  readonly port: PortChoice;
  readonly raw: ServerOptions;
  readonly options: ResolvedServerOptions;
  /** Of this thread; workers load their own. */
  readonly handler: RequestHandler<Session>;
  readonly onWorkerLost: (worker: number, reason: VerbenaError) => void;
}

/** The handler for this thread; with workers, which load it themselves, none of use. */
export async function handlerOf({
  handler,
  workers,
}: ResolvedServerOptions): Promise<RequestHandler<Session>> {
  if (!(handler instanceof URL)) return handler;
  return workers > 0 ? () => undefined : loadHandler<Session>(handler.href);
}

export function makePlane(wanted: PlaneOptions): DataPlane {
  const { ownerPrefix, device, port, options, handler } = wanted;
  const local = new LocalPlane({
    ownerPrefix,
    device,
    port,
    options,
    handler,
    traffic: newTrafficStats(),
    requestDurations: new DurationHistogram(),
    requestStartDelays: new DurationHistogram(),
    gate: new RequestGate(options.queueSize),
  });
  return options.workers === 0 ? local : new WorkerPlane(makePool(wanted), local, device.name);
}

function makePool({ ownerPrefix, device, port, raw, options, onWorkerLost }: PlaneOptions) {
  const { workers, workerStrategy, workerAffinity, workerHeapMb, handler } = options;
  const { workerChannelSize, senderChannelSize, queueSize } = options;
  return new WorkerPool({
    processors: processorsOf(workerAffinity, workers, loadAddon().affinity()),
    strategy: workerStrategy,
    heapMb: workerHeapMb,
    workerChannelSize,
    queueSize,
    orders: {
      ownerPrefix,
      device: sameDevice(device, raw),
      port: port.port,
      options: sessionDataOptions(options),
      handler: (handler as URL).href,
      senderChannelSize,
    },
    onLost: onWorkerLost,
  });
}

/** By its own name: `auto` might find another. */
function sameDevice(device: Device, raw: ServerOptions): DeviceOptions {
  const { softAddress, spinUs, emptyPollsBeforeArm } = raw;
  const name = device.pinsMemory ? device.name : 'soft';
  return { device: name, softAddress, spinUs, emptyPollsBeforeArm };
}

/** Of the options, what a thread needs that serves sessions: plain data. */
export function sessionDataOptions(options: ResolvedServerOptions): SessionDataOptions {
  const { slots, slotBytes, regionBytes, maxPayloadBytes, maxRequestsPerConnection } = options;
  const { keepaliveSec, gidIndex } = options;
  const requestMemoryBytes = options.requestMemoryBytes / Math.max(1, options.workers);
  const { requestTimeoutMs, rendezvousTimeoutMs, closeTimeoutMs } = options;
  return {
    ...{ slots, slotBytes, regionBytes, maxPayloadBytes, maxRequestsPerConnection },
    requestMemoryBytes,
    ...{ keepaliveSec, gidIndex, requestTimeoutMs, rendezvousTimeoutMs, closeTimeoutMs },
  };
}
