// The choice of port and GID: the best address of the peer's family, and an error that shows what
// there is.
import { describe, expect, it } from 'vitest';
import type { NativeGid, NativePortAttributes } from '../../../src/native/addon.js';
import {
  chooseGid,
  choosePort,
  gidFamily,
  gidText,
  noGidError,
} from '../../../src/rdma/addressing.js';

const IPV4 = '00000000000000000000ffff0a000001';
const GLOBAL = '20010db8000000000000000000000001';
const LINK_LOCAL = 'fe80000000000000020000fffe000001';
const ZERO = '0'.repeat(32);

const entry = (index: number, gid: string, type: NativeGid['type'] = 'rocev2'): NativeGid => ({
  index,
  gid,
  type,
});

/** As a RoCE adapter has it: version 1 and 2 of each address. */
const adapter = [
  entry(0, LINK_LOCAL, 'rocev1'),
  entry(1, LINK_LOCAL),
  entry(2, IPV4, 'rocev1'),
  entry(3, IPV4),
  entry(4, GLOBAL, 'rocev1'),
  entry(5, GLOBAL),
  entry(6, ZERO),
];

describe('chooseGid', () => {
  it('prefers RoCE v2 over IPv4', () => {
    expect(chooseGid(adapter)).toMatchObject({ index: 3, gid: IPV4, family: 'ipv4' });
  });

  it('prefers global over link-local IPv6 for a global peer', () => {
    expect(chooseGid(adapter, { family: 'ipv6', peerGid: GLOBAL })).toMatchObject({
      index: 5,
      family: 'ipv6',
    });
  });

  it('answers a link-local peer from a link-local address', () => {
    expect(chooseGid(adapter, { family: 'ipv6', peerGid: LINK_LOCAL })?.index).toBe(1);
  });

  it('takes the configured entry and says so', () => {
    const choice = chooseGid(adapter, { index: 5 });
    expect(choice?.index).toBe(5);
    expect(choice?.reason).toContain('as configured');
  });

  it('never takes RoCE v1, an empty entry, or another family', () => {
    expect(chooseGid(adapter, { index: 2 })).toBeUndefined();
    expect(chooseGid(adapter, { index: 6 })).toBeUndefined();
    expect(chooseGid([entry(0, IPV4)], { family: 'ipv6' })).toBeUndefined();
    expect(chooseGid([])).toBeUndefined();
  });

  it('does not take 10/8 for anything but IPv4', () => {
    expect(chooseGid([entry(0, LINK_LOCAL), entry(1, IPV4)])?.index).toBe(1);
  });

  it('takes the port GID of InfiniBand', () => {
    const table = [entry(0, 'fe80000000000000ec0d9a0300c2b8c0', 'ib')];
    expect(chooseGid(table, { family: 'ib' })).toMatchObject({ index: 0, family: 'ib' });
  });
});

describe('noGidError', () => {
  it('shows the table and what to do', () => {
    const error = noGidError('mlx5_0', adapter, { family: 'ib' });
    expect(error.code).toBe('ERR_VERBENA_NO_GID');
    expect(error.message).toContain('[3] ::ffff:10.0.0.1 rocev2');
    expect(error.message).toContain('ip addr add');
    expect(noGidError('mlx5_0', [], {}).message).toContain('the table is empty');
  });
});

describe('gidText', () => {
  it('shows IPv4 in dots and IPv6 in groups', () => {
    expect(gidText(IPV4)).toBe('::ffff:10.0.0.1');
    expect(gidText(GLOBAL)).toBe('2001:0db8:0000:0000:0000:0000:0000:0001');
    expect([gidFamily(IPV4), gidFamily(GLOBAL)]).toEqual(['ipv4', 'ipv6']);
  });
});

describe('choosePort', () => {
  const attributes = (state: NativePortAttributes['state']): NativePortAttributes => ({
    state,
    maxMtu: 4096,
    activeMtu: 1024,
    lid: 0,
    linkLayer: 'Ethernet',
    gidTableLength: 8,
  });
  const ports = [
    { port: 1, attributes: attributes('DOWN') },
    { port: 2, attributes: attributes('ACTIVE') },
  ];

  it('takes the first ACTIVE port', () => {
    expect(choosePort('mlx5_0', ports, undefined).port).toBe(2);
  });

  it.each([1, 3])('refuses port %i and tells the states', (port) => {
    expect(() => choosePort('mlx5_0', ports, port)).toThrow(
      expect.objectContaining({
        code: 'ERR_VERBENA_PORT_NOT_ACTIVE',
        message: expect.stringContaining('1 DOWN, 2 ACTIVE') as string,
      }),
    );
  });
});
