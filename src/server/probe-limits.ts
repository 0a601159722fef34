// Finds what a device really has room for, by creating objects until it refuses.
import { openQueuePair, ringsBytes } from '../connection/endpoint.js';
import { integerOption, slotBytesOption } from '../connection/option-checks.js';
import { cleanupError, messageOf } from '../errors.js';
import { limits } from '../handshake/messages.js';
import { Access } from '../native/addon.js';
import { acquireDevice, type Device, type DeviceOptions } from '../rdma/device.js';
import { LOCAL_ACCESS, REGION_ACCESS, type QueuePair } from '../rdma/queue-pair.js';
import { SERVER_QP_ACCESS } from '../workers/session-resources.js';
import { defaultSession } from './options.js';

const CQ_DEPTH = 64;
const PAGE_BYTES = 4096;
const MAX_TRIED = 2 ** 20;

export interface ProbeOptions extends DeviceOptions {
  /** Objects of a kind that are tried, at most; default 4096. */
  readonly most?: number | undefined;
  /** What the server grants each client, as in `ServerOptions`. */
  readonly slots?: number | undefined;
  readonly slotBytes?: number | undefined;
  readonly regionBytes?: number | undefined;
}

type ResolvedProbeOptions = DeviceOptions &
  Required<{ [K in 'most' | 'slots' | 'slotBytes' | 'regionBytes']: number }>;

/** Checks every option; throws ERR_VERBENA_INVALID_OPTION that names the first wrong one. */
function resolveProbeOptions(options: ProbeOptions): ResolvedProbeOptions {
  const { slots, slotBytes, regionBytes } = defaultSession;
  return {
    ...options,
    most: integerOption('most', options.most, 4096, { min: 1, max: MAX_TRIED }),
    slots: integerOption('slots', options.slots, slots, limits.slots),
    slotBytes: slotBytesOption(options.slotBytes, slotBytes, limits.slotBytes),
    regionBytes: integerOption('regionBytes', options.regionBytes, regionBytes, limits.regionBytes),
  };
}

export interface ProbedLimit {
  readonly kind: 'protection domains' | 'completion queues' | 'memory regions' | 'sessions';
  /** What the device says of itself; undefined for sessions. */
  readonly reported: number | undefined;
  /** How many it gave. */
  readonly found: number;
  /** Why it gave no more; undefined when it gave all that were tried. */
  readonly refusal: string | undefined;
}

export interface ProbeResult {
  readonly device: string;
  readonly most: number;
  /** Bytes registered for one session. */
  readonly sessionBytes: number;
  readonly limits: readonly ProbedLimit[];
}

interface Count {
  readonly found: number;
  readonly refusal: string | undefined;
}

function countUntilRefused(most: number, create: () => void): Count {
  for (let found = 0; found < most; found++) {
    try {
      create();
    } catch (error) {
      return { found, refusal: messageOf(error) };
    }
  }
  return { found: most, refusal: undefined };
}

class Probe {
  readonly #device: Device;
  readonly #options: ResolvedProbeOptions;

  constructor(device: Device, options: ResolvedProbeOptions) {
    this.#device = device;
    this.#options = options;
  }

  async run(): Promise<ProbedLimit[]> {
    const { maxPd, maxCq, maxMr } = this.#device.attributes;
    const domains = this.#alone('pd', () => this.#device.native.allocPd());
    const queues = this.#alone('cq', () => this.#device.group.createCq(CQ_DEPTH));
    const regions = this.#regions();
    const sessions = await this.#sessions();
    return [
      { kind: 'protection domains', reported: maxPd, ...domains },
      { kind: 'completion queues', reported: maxCq, ...queues },
      { kind: 'memory regions', reported: maxMr, ...regions },
      { kind: 'sessions', reported: undefined, ...sessions },
    ];
  }

  /** Counts one kind, and closes what was made. */
  #alone(kind: 'pd' | 'cq' | 'mr', create: () => { close(): void }): Count {
    const { registry } = this.#device;
    const owner = `probe-${kind}`;
    const count = countUntilRefused(this.#options.most, () => {
      const made = create();
      registry.add(kind, owner, 0, made);
    });
    const failure = cleanupError('closing what was made', registry.closeOwner(owner));
    if (failure !== undefined) throw failure;
    return count;
  }

  /** All of the same page, so that memory is not what runs out. */
  #regions(): Count {
    const pd = this.#device.native.allocPd();
    const slab = this.#device.pool.acquire(PAGE_BYTES);
    try {
      return this.#alone('mr', () =>
        pd.registerMemory(slab.buffer, 0, PAGE_BYTES, Access.localWrite),
      );
    } finally {
      this.#device.pool.release(slab);
      pd.close();
    }
  }

  /** Everything that a client takes, as the server sets it aside. */
  async #sessions(): Promise<Count> {
    const { most, slots, regionBytes, devicePort } = this.#options;
    const port = this.#device.choosePort(devicePort);
    const made: QueuePair[] = [];
    const count = countUntilRefused(most, () => {
      const owner = `probe/session-${made.length}`;
      const qp = openQueuePair(this.#device, { owner, port, slots, access: SERVER_QP_ACCESS });
      made.push(qp);
      qp.register(ringsBytes(this.#options), LOCAL_ACCESS);
      if (regionBytes > 0) qp.register(regionBytes, REGION_ACCESS);
    });
    const failures = (await Promise.all(made.map((qp) => qp.close()))).flat();
    const failure = cleanupError('closing what was made', failures);
    if (failure !== undefined) throw failure;
    return count;
  }
}

/**
 * Creates objects of each kind until the device refuses or `most` are made, and closes them all.
 * What others use at the time is missing from the result. Throws a VerbenaError when an option is
 * wrong, the device does not open, has no active port, or something cannot be closed.
 */
export async function probeLimits(options: ProbeOptions): Promise<ProbeResult> {
  const resolved = resolveProbeOptions(options);
  const lease = acquireDevice(options);
  try {
    const { name } = lease.device;
    const found = await new Probe(lease.device, resolved).run();
    const sessionBytes = ringsBytes(resolved) + resolved.regionBytes;
    return { device: name, most: resolved.most, sessionBytes, limits: found };
  } finally {
    lease.release();
  }
}
