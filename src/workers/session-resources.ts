// What a session has on the device: queue pair, rings and region, each with its undoing, and the
// welcome that tells the client of them.
import { Endpoint, openQueuePair, type EndpointUser } from '../connection/endpoint.js';
import type { TrafficStats } from '../connection/traffic-stats.js';
import type { UndoStack } from '../connection/undo-stack.js';
import { VerbenaError } from '../errors.js';
import type { Hello, Welcome } from '../handshake/messages.js';
import { Access } from '../native/addon.js';
import { chooseGid, gidFamily, type GidChoice, type PortChoice } from '../rdma/addressing.js';
import type { Device } from '../rdma/device.js';
import { REGION_ACCESS, type MemoryRegion } from '../rdma/queue-pair.js';

/** READ and atomic operations under way per queue pair, each way, at most. */
const MAX_RD_ATOMIC = 16;

/** Rights that a client has on its queue pair at the server: its region, and reading offers. */
export const SERVER_QP_ACCESS = Access.remoteWrite | Access.remoteRead | Access.remoteAtomic;

/** What each client is granted. */
export interface SessionGrants {
  readonly slots: number;
  readonly slotBytes: number;
  readonly regionBytes: number;
  readonly maxPayloadBytes: number;
  readonly maxRequestsPerConnection: number;
  readonly keepaliveSec: number;
  readonly gidIndex?: number | undefined;
}

/** The port that sessions use. */
export interface SessionPort {
  readonly device: Device;
  readonly port: PortChoice;
}

/** What the sessions of one thread share. */
export interface SessionGround extends SessionPort {
  /** Start of the owners' names in the registry. */
  readonly ownerPrefix: string;
  readonly options: SessionGrants;
  readonly traffic: TrafficStats;
}

/** The client's wishes, and what the server has decided before there is a queue pair. */
export interface Admission {
  readonly id: number;
  readonly localPsn: number;
  readonly hello: Hello;
}

export interface SessionResources {
  readonly endpoint: Endpoint;
  readonly region: MemoryRegion | undefined;
}

/** The server's GID of the client's family. */
function chooseGidFor(ground: SessionGround, hello: Hello): GidChoice {
  const { device, port, options } = ground;
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
      `it has ${familiesOf(ground).join(' and ') || 'none'}`,
  );
}

/** Address families that the server's port can be reached with. */
export function familiesOf({ device, port }: SessionPort): ('ipv4' | 'ipv6' | 'ib')[] {
  const table = device.gidTable(port.port);
  return (['ipv4', 'ipv6', 'ib'] as const).filter((family) => chooseGid(table, { family }));
}

/**
 * Makes everything, up to a queue pair that is ready to receive and send. `undo` learns of each
 * step; the caller runs it when this throws, and when the session ends.
 */
export function openSessionResources(
  ground: SessionGround,
  user: EndpointUser,
  { id, localPsn, hello }: Admission,
  undo: UndoStack,
): { readonly resources: SessionResources; readonly welcome: Welcome } {
  const { device, port, options } = ground;
  const gid = chooseGidFor(ground, hello);
  const grantedSlots = Math.min(hello.slots, options.slots);
  const qp = openQueuePair(device, {
    owner: `${ground.ownerPrefix}/session-${id}`,
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
      stats: ground.traffic,
    },
    user,
  );
  undo.add(() => endpoint.stop());
  const regionBytes = Math.min(hello.regionBytes ?? options.regionBytes, options.regionBytes);
  const region = regionBytes > 0 ? endpoint.qp.register(regionBytes, REGION_ACCESS) : undefined;
  const welcome = makeWelcome(ground, hello, { id, localPsn, endpoint, gid });
  endpoint.connect({
    remote: hello.endpoint,
    localPsn,
    gid,
    mtu: welcome.mtu,
    maxRdAtomic: Math.min(welcome.endpoint.maxRdAtomic, hello.endpoint.maxDestRdAtomic),
    maxDestRdAtomic: welcome.endpoint.maxDestRdAtomic,
  });
  return { resources: { endpoint, region }, welcome };
}

interface Made {
  readonly id: number;
  readonly localPsn: number;
  readonly endpoint: Endpoint;
  readonly gid: GidChoice;
}

function makeWelcome(ground: SessionGround, hello: Hello, made: Made): Welcome {
  const { port, options, device } = ground;
  const { maxQpInitRdAtomic, maxQpRdAtomic } = device.attributes;
  const ownMtu = port.attributes.activeMtu as Welcome['mtu'];
  return {
    type: 'welcome',
    clientId: made.id,
    slots: Math.min(hello.slots, options.slots),
    slotBytes: Math.min(hello.slotBytes, options.slotBytes),
    mtu: ownMtu < hello.endpoint.mtu ? ownMtu : hello.endpoint.mtu,
    maxRequests: options.maxRequestsPerConnection,
    timing: true,
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
