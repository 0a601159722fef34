// How many clients a server has room for, and the limit that decides it.
import { VerbenaError } from '../errors.js';
import type { NativeDeviceAttributes } from '../native/addon.js';
import type { SystemLimits } from '../rdma/system-limits.js';
import type { ResolvedServerOptions } from './options.js';
import { MAX_SLOTS } from './slot-map.js';

/** Memory regions of one idle session: rings and region. */
const REGIONS_PER_SESSION = 2;
/** Descriptors that the process needs besides one TLS socket for each client. */
const OTHER_FILES = 64;

export interface CapacityLimit {
  /** The setting, device attribute or system limit. */
  readonly name: string;
  /** Clients that it allows, if nobody else uses it. */
  readonly clients: number;
}

export interface Capacity {
  /** The smallest of the limits. */
  readonly clients: number;
  /** That limit's name. */
  readonly limitedBy: string;
  readonly limits: readonly CapacityLimit[];
}

export interface CapacitySources {
  readonly options: Pick<ResolvedServerOptions, 'maxConnections' | 'maxRegisteredBytes'>;
  readonly attributes: NativeDeviceAttributes;
  readonly system: SystemLimits;
  /** Bytes registered for one idle session. */
  readonly sessionBytes: number;
}

/**
 * What the configuration, the device and the system allow; the first of the smallest decides.
 * Throws ERR_VERBENA_INVALID_OPTION when there is no room for anyone.
 */
export function capacityOf({
  options,
  attributes,
  system,
  sessionBytes,
}: CapacitySources): Capacity {
  const sessionsIn = (bytes: number): number => Math.floor(bytes / sessionBytes);
  const limits = [
    { name: 'maxConnections', clients: options.maxConnections },
    { name: 'maxRegisteredBytes', clients: sessionsIn(options.maxRegisteredBytes) },
    { name: "the device's queue pairs (max_qp)", clients: attributes.maxQp },
    { name: "the device's completion queues (max_cq)", clients: attributes.maxCq },
    { name: "the device's protection domains (max_pd)", clients: attributes.maxPd },
    {
      name: "the device's memory regions (max_mr)",
      clients: Math.floor(attributes.maxMr / REGIONS_PER_SESSION),
    },
    { name: 'open files (ulimit -n)', clients: Math.max(0, system.openFiles - OTHER_FILES) },
    { name: 'locked memory (ulimit -l)', clients: sessionsIn(system.lockedBytes) },
    { name: 'slots of a server', clients: MAX_SLOTS },
  ].filter(({ clients }) => Number.isFinite(clients));
  const [first, ...others] = limits;
  const binding = others.reduce(
    (least, each) => (each.clients < least.clients ? each : least),
    first ?? { name: 'slots of a server', clients: MAX_SLOTS },
  );
  if (binding.clients === 0) {
    throw new VerbenaError(
      'ERR_VERBENA_INVALID_OPTION',
      `there is no room for a single client: ${binding.name} is the limit, and each client ` +
        `registers ${sessionBytes} bytes`,
    );
  }
  return { clients: binding.clients, limitedBy: binding.name, limits };
}
