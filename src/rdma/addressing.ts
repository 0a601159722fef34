// Chooses the port and the GID that a queue pair uses, and says why.
import { VerbenaError } from '../errors.js';
import type { NativeGid, NativePortAttributes } from '../native/addon.js';

/** `ib`: InfiniBand, addressed by LID. The others are RoCE v2 addresses. */
export type GidFamily = 'ipv4' | 'ipv6' | 'ib';
export type GidScope = 'ipv4' | 'global' | 'link-local' | 'ib';

export interface GidChoice {
  readonly index: number;
  /** 32 hex digits. */
  readonly gid: string;
  readonly family: GidFamily;
  /** One clause: why this entry and not another. */
  readonly reason: string;
}

export interface PortChoice {
  readonly port: number;
  readonly attributes: NativePortAttributes;
}

const MAPPED_IPV4 = /^0{20}f{4}/;
const LINK_LOCAL = /^fe[89ab]/;
const ZERO = /^0{32}$/;

/** Better scopes first. */
const scopeOrder: readonly GidScope[] = ['ipv4', 'global', 'link-local', 'ib'];

const scopeNames: Readonly<Record<GidScope, string>> = {
  ipv4: 'RoCE v2 with an IPv4 address',
  global: 'RoCE v2 with a global IPv6 address',
  'link-local': 'RoCE v2 with a link-local IPv6 address',
  ib: 'an InfiniBand port GID',
};

export function gidFamily(gid: string): 'ipv4' | 'ipv6' {
  return MAPPED_IPV4.test(gid) ? 'ipv4' : 'ipv6';
}

function scopeOf(entry: NativeGid): GidScope | undefined {
  if (ZERO.test(entry.gid) || entry.type === 'rocev1') return undefined;
  if (entry.type === 'ib') return 'ib';
  if (MAPPED_IPV4.test(entry.gid)) return 'ipv4';
  return LINK_LOCAL.test(entry.gid) ? 'link-local' : 'global';
}

function familyOf(scope: GidScope): GidFamily {
  if (scope === 'ib' || scope === 'ipv4') return scope;
  return 'ipv6';
}

/** `::ffff:127.0.0.2` style text of 32 hex digits, shortened only for IPv4. */
export function gidText(gid: string): string {
  if (MAPPED_IPV4.test(gid)) {
    const octets = gid.slice(24).match(/../g) ?? [];
    return `::ffff:${octets.map((octet) => parseInt(octet, 16)).join('.')}`;
  }
  return (gid.match(/.{4}/g) ?? []).join(':');
}

function describeTable(table: readonly NativeGid[]): string {
  const used = table.filter((entry) => !ZERO.test(entry.gid));
  if (used.length === 0) return 'the table is empty';
  return used.map((entry) => `[${entry.index}] ${gidText(entry.gid)} ${entry.type}`).join(', ');
}

export interface GidWish {
  /** Only this entry. */
  readonly index?: number | undefined;
  /** Only this family: that of the peer. */
  readonly family?: GidFamily | undefined;
  /** A link-local peer is reached from a link-local address. */
  readonly peerGid?: string | undefined;
}

/**
 * RoCE v2 with IPv4 goes before global IPv6 before link-local; `wish` narrows the choice. Returns
 * undefined when no entry fits.
 */
export function chooseGid(table: readonly NativeGid[], wish: GidWish = {}): GidChoice | undefined {
  const linkLocalPeer = wish.peerGid !== undefined && LINK_LOCAL.test(wish.peerGid);
  const order = linkLocalPeer ? (['link-local', ...scopeOrder] as const) : scopeOrder;
  const candidates = table
    .map((entry) => ({ entry, scope: scopeOf(entry) }))
    .filter((candidate): candidate is { entry: NativeGid; scope: GidScope } => {
      if (candidate.scope === undefined) return false;
      if (wish.index !== undefined && candidate.entry.index !== wish.index) return false;
      return wish.family === undefined || familyOf(candidate.scope) === wish.family;
    })
    .sort(
      (a, b) => order.indexOf(a.scope) - order.indexOf(b.scope) || a.entry.index - b.entry.index,
    );
  const best = candidates[0];
  if (best === undefined) return undefined;
  return {
    index: best.entry.index,
    gid: best.entry.gid,
    family: familyOf(best.scope),
    reason: reasonFor(best.scope, wish),
  };
}

function reasonFor(scope: GidScope, wish: GidWish): string {
  const kind = scopeNames[scope];
  if (wish.index !== undefined) return `${kind}, as configured`;
  if (wish.family !== undefined) return `${kind}, the best of the peer's family`;
  return `${kind}, the best in the table`;
}

/** The error for a table with nothing to use, naming what is there. */
export function noGidError(
  device: string,
  table: readonly NativeGid[],
  wish: GidWish,
): VerbenaError {
  const wanted = wish.index === undefined ? (wish.family ?? 'RoCE v2') : `index ${wish.index}`;
  return new VerbenaError(
    'ERR_VERBENA_NO_GID',
    `${device} has no usable GID for ${wanted}: ${describeTable(table)}. ` +
      'Give the network device an address (ip addr add), or choose another device or GID index',
  );
}

/** The wished port, or the first that is ACTIVE. */
export function choosePort(
  device: string,
  ports: readonly PortChoice[],
  wished: number | undefined,
): PortChoice {
  const port =
    wished === undefined
      ? ports.find((candidate) => candidate.attributes.state === 'ACTIVE')
      : ports.find((candidate) => candidate.port === wished);
  if (port?.attributes.state === 'ACTIVE') return port;
  const states = ports.map(({ port: number, attributes }) => `${number} ${attributes.state}`);
  throw new VerbenaError(
    'ERR_VERBENA_PORT_NOT_ACTIVE',
    `${device} has no ACTIVE port ${wished ?? ''} (${states.join(', ')}). ` +
      'Check the cable and the network device: ibv_devinfo, ip link',
  );
}
