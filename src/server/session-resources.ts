// What the server sets aside for one client: slot, packet sequence numbers, queue pair and memory,
// each with its undoing.
import { Endpoint, openQueuePair, type EndpointUser } from '../connection/endpoint.js';
import type { TrafficStats } from '../connection/traffic-stats.js';
import type { UndoStack } from '../connection/undo-stack.js';
import { VerbenaError } from '../errors.js';
import type { Hello, Welcome } from '../handshake/messages.js';
import type { PsnSet } from '../handshake/psn.js';
import { Access } from '../native/addon.js';
import { chooseGid, gidFamily, type GidChoice, type PortChoice } from '../rdma/addressing.js';
import type { Device } from '../rdma/device.js';
import { REGION_ACCESS, type MemoryRegion } from '../rdma/queue-pair.js';
import type { ResolvedServerOptions } from './options.js';
import { RETRY_AFTER_MS } from './refusal.js';
import type { SlotMap } from './slot-map.js';

/** READ and atomic operations under way per queue pair, each way, at most. */
const MAX_RD_ATOMIC = 16;

/** Rights that a client has on its queue pair at the server: its region, and reading offers. */
export const SERVER_QP_ACCESS = Access.remoteWrite | Access.remoteRead | Access.remoteAtomic;

/** What the sessions of one server share. */
export interface ServerResources<T> {
  /** Start of the owners' names in the registry. */
  readonly ownerPrefix: string;
  readonly device: Device;
  readonly port: PortChoice;
  readonly options: ResolvedServerOptions;
  readonly slots: SlotMap<T>;
  readonly psns: PsnSet;
  readonly traffic: TrafficStats;
}

export interface SessionResources {
  readonly id: number;
  readonly localPsn: number;
  readonly endpoint: Endpoint;
  readonly region: MemoryRegion | undefined;
}

function takeSlot<T>(slots: SlotMap<T>, session: T): number {
  const id = slots.take(session);
  if (id !== undefined) return id;
  throw new VerbenaError(
    'ERR_VERBENA_RESOURCE_EXHAUSTED',
    `all ${slots.capacity} connections of the server are taken`,
    { retryAfterMs: RETRY_AFTER_MS },
  );
}

/** The server's GID of the client's family. */
function chooseGidFor<T>(server: ServerResources<T>, hello: Hello): GidChoice {
  const { device, port, options } = server;
  const infiniBand = port.attributes.linkLayer === 'InfiniBand';
  const family = infiniBand ? 'ib' : gidFamily(hello.endpoint.gid);
  const table = device.gidTable(port.port);
  const choice = chooseGid(table, {
    index: options.gidIndex,
    family,
    peerGid: hello.endpoint.gid,
  });
  if (choice !== undefined) return choice;
  throw new VerbenaError(
    'ERR_VERBENA_GID_FAMILY_MISMATCH',
    `the server's port has no ${family} address; ` +
      `it has ${familiesOf(server).join(' and ') || 'none'}`,
  );
}

/** Address families that the server's port can be reached with. */
export function familiesOf<T>({ device, port }: ServerResources<T>): ('ipv4' | 'ipv6' | 'ib')[] {
  const table = device.gidTable(port.port);
  return (['ipv4', 'ipv6', 'ib'] as const).filter((family) => chooseGid(table, { family }));
}

/**
 * Sets everything aside, up to a queue pair that is ready to receive and send. `undo` learns of
 * each step; the caller runs it when this throws, and when the session ends.
 */
export function openSessionResources<T>(
  server: ServerResources<T>,
  session: T,
  user: EndpointUser,
  hello: Hello,
  undo: UndoStack,
): { readonly resources: SessionResources; readonly welcome: Welcome } {
  const { device, port, options, slots, psns } = server;
  const gid = chooseGidFor(server, hello);
  const id = takeSlot(slots, session);
  undo.add(() => slots.free(id));
  psns.claim(hello.endpoint.psn);
  undo.add(() => psns.free(hello.endpoint.psn));
  const localPsn = psns.draw();
  undo.add(() => psns.free(localPsn));
  const grantedSlots = Math.min(hello.slots, options.slots);
  const qp = openQueuePair(device, {
    owner: `${server.ownerPrefix}/session-${id}`,
    port,
    slots: grantedSlots,
    access: SERVER_QP_ACCESS,
  });
  undo.add(() => qp.close());
  const endpoint = new Endpoint(
    qp,
    {
      slots: grantedSlots,
      slotBytes: Math.min(hello.slotBytes, options.slotBytes),
      withScratch: false,
      stats: server.traffic,
    },
    user,
  );
  undo.add(() => endpoint.stop());
  const regionBytes = Math.min(hello.regionBytes ?? options.regionBytes, options.regionBytes);
  const region = regionBytes > 0 ? endpoint.qp.register(regionBytes, REGION_ACCESS) : undefined;
  const welcome = makeWelcome(server, hello, { id, localPsn, endpoint, gid });
  endpoint.connect({
    remote: hello.endpoint,
    localPsn,
    gid,
    mtu: welcome.mtu,
    maxRdAtomic: Math.min(welcome.endpoint.maxRdAtomic, hello.endpoint.maxDestRdAtomic),
    maxDestRdAtomic: welcome.endpoint.maxDestRdAtomic,
  });
  return { resources: { id, localPsn, endpoint, region }, welcome };
}

interface Made {
  readonly id: number;
  readonly localPsn: number;
  readonly endpoint: Endpoint;
  readonly gid: GidChoice;
}

function makeWelcome<T>(server: ServerResources<T>, hello: Hello, made: Made): Welcome {
  const { port, options, device } = server;
  const { maxQpInitRdAtomic, maxQpRdAtomic } = device.attributes;
  const ownMtu = port.attributes.activeMtu as Welcome['mtu'];
  return {
    type: 'welcome',
    clientId: made.id,
    slots: Math.min(hello.slots, options.slots),
    slotBytes: Math.min(hello.slotBytes, options.slotBytes),
    mtu: ownMtu < hello.endpoint.mtu ? ownMtu : hello.endpoint.mtu,
    maxRequests: options.maxRequestsPerConnection,
    maxPayloadBytes: options.maxPayloadBytes,
    keepaliveSec: options.keepaliveSec,
    endpoint: {
      qpn: made.endpoint.qp.qpn,
      psn: made.localPsn,
      gid: made.gid.gid,
      lid: port.attributes.lid,
      mtu: ownMtu,
      maxRdAtomic: Math.min(MAX_RD_ATOMIC, maxQpInitRdAtomic),
      maxDestRdAtomic: Math.min(MAX_RD_ATOMIC, maxQpRdAtomic),
    },
  };
}
