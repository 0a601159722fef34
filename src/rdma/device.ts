// The device that a process shares: found by name, opened once per thread, closed with its last
// user.
import { BlockList, isIP, isIPv6 } from 'node:net';
import { VerbenaError, messageOf, toVerbenaError } from '../errors.js';
import type {
  NativeAsyncEvent,
  NativeDevice,
  NativeDeviceAttributes,
  NativeGid,
  NativeLibrary,
} from '../native/addon.js';
import { HARDWARE_LIBRARY, loadAddon, softLibraryPath } from '../native/load.js';
import {
  chooseGid,
  choosePort,
  gidText,
  noGidError,
  type GidChoice,
  type GidWish,
  type PortChoice,
} from './addressing.js';
import { parseCountersPage, readKernelCounters, type DeviceCounters } from './device-counters.js';
import { BufferPool, type BufferPoolStats } from './buffer-pool.js';
import { PollGroup, type PollGroupOptions } from './poll-group.js';
import { ResourceRegistry, type ResourceHandle } from './registry.js';

/** The soft device's name in `device` options and the name its library lists it under. */
const SOFT = 'soft';
const SOFT_DEVICE_NAME = 'soft0';
const SOFT_ADDRESS_VARIABLE = 'VERBENA_SOFT_ADDR';

/** Slabs kept for reuse per device; what exceeds this is unmapped. */
const MAX_FREE_BYTES = 256 * 1024 * 1024;

export interface DeviceOptions {
  /**
   * `'soft'`: the user-space device of this package. A name such as `'mlx5_0'` or `'rxe0'`: that
   * device, through libibverbs. `'auto'`: the first device with an ACTIVE port, else the soft one,
   * with a process warning.
   */
  readonly device: string;
  /**
   * Local IP address of the soft device. Once per process; unset, `VERBENA_SOFT_ADDR` or a free
   * loopback address is used.
   */
  readonly softAddress?: string | undefined;
  /** Port of the device; default: the first ACTIVE one. */
  readonly devicePort?: number | undefined;
  /** GID table entry; default: the best RoCE v2 address. */
  readonly gidIndex?: number | undefined;
  /** Longest spin for completions before sleeping, in µs. The first user of the device decides. */
  readonly spinUs?: number | undefined;
  /**
   * Polls in vain after which a connection is left to its notification while the event loop has
   * other work; default 16. For loops that never rest, which find answers sooner by polling on. The
   * first user of the device decides.
   */
  readonly emptyPollsBeforeArm?: number | undefined;
}

/** What the device as a whole or one of its ports reports: `DEVICE_FATAL`, `PORT_ERR`, ... */
export interface DeviceEvent {
  readonly event: string;
  readonly port: number | undefined;
}

/** A user's hold on a device. */
export interface DeviceLease {
  readonly device: Device;
  /** Idempotent. The last release closes the device; failures are returned. */
  release(): unknown[];
}

/** One opened device with what its users share: poll group, buffer pool, registry. */
export class Device {
  readonly native: NativeDevice;
  readonly libraryPath: string;
  readonly attributes: NativeDeviceAttributes;
  readonly registry = new ResourceRegistry();
  readonly pool: BufferPool;
  readonly group: PollGroup;
  readonly #onGone: () => void;
  readonly #handles: ResourceHandle[] = [];
  readonly #watchers = new Set<(event: DeviceEvent) => void>();
  #users = 0;
  #hasFailed = false;

  constructor(library: NativeLibrary, name: string, polling: PollGroupOptions, onGone: () => void) {
    this.#onGone = onGone;
    this.libraryPath = library.path;
    this.native = library.openDevice(name);
    this.#handles.push(this.registry.add('device', name, 0, this.native));
    try {
      this.attributes = this.native.queryDevice();
      this.pool = new BufferPool(loadAddon(), MAX_FREE_BYTES);
      const group = new PollGroup(this.native, polling);
      this.group = group;
      this.#handles.push(this.registry.add('pollGroup', name, 0, group));
      this.native.setAsyncEventHandler((event) => this.onAsyncEvent(event));
    } catch (error) {
      this.registry.closeOwner(name);
      throw error;
    }
  }

  get name(): string {
    return this.native.name;
  }

  /** Whether memory registered with it is locked: by adapters and soft-RoCE, not by our own. */
  get pinsMemory(): boolean {
    return this.libraryPath !== softLibraryPath();
  }

  /** True after `DEVICE_FATAL`: nothing that was made with it works any more. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Calls back for each event of the device or a port; returns what ends that. */
  watch(watcher: (event: DeviceEvent) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Those who watch hear of an event before the queue pairs do, which end because of it. */
  onAsyncEvent({ event, qpIndex, port }: NativeAsyncEvent): void {
    if (event === 'DEVICE_FATAL') {
      this.#hasFailed = true;
      // Who comes from now on gets another context: the device may have been reset.
      this.#onGone();
    }
    if (qpIndex === undefined) for (const watcher of [...this.#watchers]) watcher({ event, port });
    this.group.dispatchEvent(event, qpIndex);
  }

  /** The port to use: the wished one, or the first that is ACTIVE. */
  choosePort(wished?: number): PortChoice {
    const ports = Array.from({ length: this.attributes.portCount }, (_, index) => ({
      port: index + 1,
      attributes: this.native.queryPort(index + 1),
    }));
    return choosePort(this.name, ports, wished);
  }

  /** The GID to use on a port; throws ERR_VERBENA_NO_GID with the table when none fits. */
  chooseGid(port: number, wish: GidWish = {}): GidChoice {
    const table = this.gidTable(port);
    const choice = chooseGid(table, wish);
    if (choice === undefined) throw noGidError(this.name, table, wish);
    return choice;
  }

  gidTable(port: number): NativeGid[] {
    return this.native.gidTable(port);
  }

  /** What the device itself counts, of all its users, under its own names. */
  async counters(port: number): Promise<DeviceCounters> {
    const page = this.native.countersPage();
    return page === undefined
      ? readKernelCounters(this.name, port)
      : parseCountersPage(Buffer.from(page));
  }

  poolStats(): BufferPoolStats {
    return this.pool.stats();
  }

  /** Counts a user; see `acquireDevice`. */
  lease(): DeviceLease {
    this.#users++;
    let released = false;
    return {
      device: this,
      release: () => {
        if (released) return [];
        released = true;
        return --this.#users === 0 ? this.#close() : [];
      },
    };
  }

  /** Nobody uses the device any more, so what others than itself have open was forgotten. */
  #closeLeftovers(): unknown[] {
    const failures: unknown[] = [];
    for (const owner of this.registry.owners()) {
      if (owner === this.name) continue;
      const kinds = this.registry.kindsOf(owner).join(', ');
      failures.push(new Error(`${owner} left open: ${kinds}`), ...this.registry.closeOwner(owner));
    }
    return failures;
  }

  #close(): unknown[] {
    this.#onGone();
    const failures: unknown[] = this.#closeLeftovers();
    try {
      this.native.setAsyncEventHandler(undefined);
    } catch (error) {
      failures.push(error);
    }
    for (const handle of this.#handles.reverse()) {
      try {
        this.registry.close(handle);
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }
}

const libraries = new Map<string, NativeLibrary>();
const devices = new Map<string, Device>();

function openLibrary(path: string): NativeLibrary {
  const open = libraries.get(path) ?? loadAddon().openLibrary(path);
  libraries.set(path, open);
  return open;
}

/**
 * One process has one soft device: another user, or another thread, may have given it another
 * address.
 */
function checkSoftAddress(device: Device, address: string | undefined): void {
  if (address === undefined || isIP(address) === 0) return;
  const wanted = new BlockList();
  wanted.addAddress(address.replace(/%.*/, ''), isIPv6(address) ? 'ipv6' : 'ipv4');
  const found = device.gidTable(1).map(({ gid }) => gidText(gid).replace(/^::ffff:/, ''));
  if (found.some((one) => wanted.check(one, isIPv6(one) ? 'ipv6' : 'ipv4'))) return;
  throw new VerbenaError(
    'ERR_VERBENA_SOFT_ADDRESS',
    `the soft device of this process has the address ${found.join(', ')} already, so it cannot ` +
      `take ${address}: use the same softAddress everywhere, set ${SOFT_ADDRESS_VARIABLE} before ` +
      'the process starts, or use another process',
  );
}

function share(library: NativeLibrary, name: string, polling: PollGroupOptions): DeviceLease {
  const key = `${library.path}\n${name}`;
  let device = devices.get(key);
  if (device === undefined) {
    const made: Device = new Device(library, name, polling, () => {
      if (devices.get(key) === made) devices.delete(key);
    });
    devices.set(key, made);
    device = made;
  }
  return device.lease();
}

/**
 * The device reads its address from the environment when it is opened; one that fails is taken
 * back.
 */
function acquireSoft({ softAddress, ...polling }: DeviceOptions): DeviceLease {
  const library = openLibrary(softLibraryPath());
  if (softAddress === undefined) return share(library, SOFT_DEVICE_NAME, polling);
  const previous = process.env[SOFT_ADDRESS_VARIABLE];
  process.env[SOFT_ADDRESS_VARIABLE] = softAddress;
  let lease: DeviceLease | undefined;
  try {
    lease = share(library, SOFT_DEVICE_NAME, polling);
    checkSoftAddress(lease.device, softAddress);
    return lease;
  } catch (error) {
    lease?.release();
    if (previous === undefined) Reflect.deleteProperty(process.env, SOFT_ADDRESS_VARIABLE);
    else process.env[SOFT_ADDRESS_VARIABLE] = previous;
    throw error;
  }
}

function acquireNamed(options: DeviceOptions): DeviceLease {
  const library = openLibrary(HARDWARE_LIBRARY);
  const names = library.listDevices().map(({ name }) => name);
  if (!names.includes(options.device)) {
    const known = names.length === 0 ? 'libibverbs lists none' : `known: ${names.join(', ')}`;
    throw new VerbenaError(
      'ERR_VERBENA_UNKNOWN_DEVICE',
      `there is no RDMA device '${options.device}' (${known}). ` +
        "See ibv_devices, or use 'soft' for the device in user space",
    );
  }
  return share(library, options.device, options);
}

/** The first hardware device with an ACTIVE port, or the reason why there is none. */
function acquireFirstActive(options: DeviceOptions): DeviceLease | string {
  let library: NativeLibrary;
  try {
    library = openLibrary(HARDWARE_LIBRARY);
  } catch (error) {
    return messageOf(error);
  }
  const reasons: string[] = [];
  for (const { name } of library.listDevices()) {
    const lease = tryActive(library, name, options);
    if (typeof lease !== 'string') return lease;
    reasons.push(lease);
  }
  return reasons.length === 0 ? 'libibverbs lists no device' : reasons.join('; ');
}

function tryActive(
  library: NativeLibrary,
  name: string,
  options: DeviceOptions,
): DeviceLease | string {
  let lease: DeviceLease;
  try {
    lease = share(library, name, options);
  } catch (error) {
    return `${name}: ${messageOf(error)}`;
  }
  try {
    lease.device.choosePort(options.devicePort);
    return lease;
  } catch (error) {
    lease.release();
    return `${name}: ${messageOf(error)}`;
  }
}

/** Opens the device, or joins those who use it already. Throws a VerbenaError. */
export function acquireDevice(options: DeviceOptions): DeviceLease {
  try {
    return acquire(options);
  } catch (error) {
    throw toVerbenaError(error, 'ERR_VERBENA_INTERNAL');
  }
}

function acquire(options: DeviceOptions): DeviceLease {
  if (options.device === SOFT) return acquireSoft(options);
  if (options.device !== 'auto') return acquireNamed(options);
  const found = acquireFirstActive(options);
  if (typeof found !== 'string') return found;
  process.emitWarning(`using the soft device, because no RDMA adapter is usable: ${found}`, {
    type: 'VerbenaWarning',
    code: 'VERBENA_SOFT_DEVICE',
  });
  return acquireSoft(options);
}
