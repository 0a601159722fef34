// Every operation between two queue pairs of one process, through the rings and the poll group.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  COMPLETION_POST_FAILED,
  COMPLETION_WITH_IMM,
  PostFlag,
  PostHeader,
  type NativeDevice,
} from '../../../src/native/addon.js';
import { loadAddon } from '../../../src/native/load.js';
import { connectEnds, LoopbackEnd, openSoftDevice, TestGroup } from '../../helpers/loopback.js';

const WcOpcode = { send: 0, write: 1, read: 2, compareSwap: 3, fetchAdd: 4, receive: 128 };
const WcOpcodeReceiveWithWrite = 129;
const WcStatus = { remoteAccess: 10, flushed: 5, general: 21 };
const Errno = { EBADF: 9, ENOMEM: 12, EFAULT: 14, EINVAL: 22, EMSGSIZE: 90, ECANCELED: 125 };

let device: NativeDevice;
let group: TestGroup;
let a: LoopbackEnd;
let b: LoopbackEnd;

beforeEach(() => {
  device = openSoftDevice();
  group = new TestGroup(device);
  a = new LoopbackEnd(device, group);
  b = new LoopbackEnd(device, group);
  connectEnds(device, a, b);
});

afterEach(() => {
  loadAddon().closeAll();
  expect(loadAddon().liveObjects()).toEqual({ pd: 0, cq: 0, qp: 0, mr: 0, device: 0 });
});

/** The next two completions, that of `a` first. */
async function both(): Promise<[first: Record<string, number>, second: Record<string, number>]> {
  const [one, two] = await group.take(2);
  const ordered = one?.qpIndex === a.qp.index ? [one, two] : [two, one];
  return ordered as unknown as [Record<string, number>, Record<string, number>];
}

const ok = { status: 0, vendorError: 0 };

describe('operations', () => {
  it('sends a message into a posted receive', async () => {
    a.bytes.set([1, 2, 3, 4, 5], 100);
    b.post({ opcode: 'receive', wrId: 7, localOffset: 4096, length: 64 });
    a.post({ opcode: 'send', wrId: 8, localOffset: 100, length: 5 });
    const [sent, received] = await both();
    expect(sent).toMatchObject({ ...ok, wrId: 8, opcode: WcOpcode.send, flags: 0 });
    expect(received).toMatchObject({ ...ok, wrId: 7, opcode: WcOpcode.receive, byteLen: 5 });
    expect([...b.bytes.subarray(4096, 4102)]).toEqual([1, 2, 3, 4, 5, 0]);
  });

  it('carries an immediate in host byte order', async () => {
    b.post({ opcode: 'receive', length: 64 });
    a.post({ opcode: 'sendWithImm', length: 8, imm: 0x1234_5678 });
    const [, received] = await both();
    expect(received).toMatchObject({ ...ok, imm: 0x1234_5678, flags: COMPLETION_WITH_IMM });
  });

  it('sends nothing at all, with a memory region that is never looked at', async () => {
    b.post({ opcode: 'receive', mrIndex: 0 });
    a.post({ opcode: 'send', mrIndex: 0 });
    const [, received] = await both();
    expect(received).toMatchObject({ ...ok, byteLen: 0 });
  });

  it('sends inline data from the bytes at the time of posting', async () => {
    a.bytes.set([9, 8, 7], 300);
    b.post({ opcode: 'receive', length: 64 });
    a.post({
      opcode: 'send',
      flags: PostFlag.signaled | PostFlag.inline,
      localOffset: 300,
      length: 3,
    });
    group.native.flush();
    a.bytes.fill(0, 300, 303);
    await both();
    expect([...b.bytes.subarray(0, 3)]).toEqual([9, 8, 7]);
  });

  it('writes to an offset of the remote region', async () => {
    const payload = Uint8Array.from({ length: 10_000 }, (_, index) => (index * 7) % 251);
    a.bytes.set(payload);
    a.post({ opcode: 'write', length: 10_000, remoteAddress: 5000, rkey: b.mr.rkey });
    expect(await group.next()).toMatchObject({ ...ok, opcode: WcOpcode.write });
    expect(b.bytes.subarray(5000, 15_000)).toEqual(payload);
    expect(b.bytes[4999]).toBe(0);
    expect(b.bytes[15_000]).toBe(0);
  });

  it('raises an immediate with a write', async () => {
    b.post({ opcode: 'receive', wrId: 3 });
    a.bytes[0] = 42;
    a.post({
      opcode: 'writeWithImm',
      length: 1,
      imm: 77,
      remoteAddress: 1,
      rkey: b.mr.rkey,
    });
    const [, received] = await both();
    expect(received).toMatchObject({ ...ok, wrId: 3, imm: 77, opcode: WcOpcodeReceiveWithWrite });
    expect(b.bytes[1]).toBe(42);
  });

  it('reads from an offset of the remote region', async () => {
    const payload = Uint8Array.from({ length: 9000 }, (_, index) => (index * 13) % 241);
    b.bytes.set(payload, 256);
    a.post({
      opcode: 'read',
      localOffset: 512,
      length: 9000,
      remoteAddress: 256,
      rkey: b.mr.rkey,
    });
    expect(await group.next()).toMatchObject({ ...ok, opcode: WcOpcode.read, byteLen: 9000 });
    expect(a.bytes.subarray(512, 9512)).toEqual(payload);
  });

  it('adds and swaps 64-bit counters and returns what was there', async () => {
    const remote = new DataView(b.bytes.buffer);
    const local = new DataView(a.bytes.buffer);
    const old = 0x0123_4567_89ab_cdefn;
    remote.setBigUint64(64, old, true);
    const target = { length: 8, remoteAddress: 64, rkey: b.mr.rkey };
    a.post({ opcode: 'fetchAdd', ...target, compareAdd: 0x1_0000_0001n });
    expect(await group.next()).toMatchObject({ ...ok, opcode: WcOpcode.fetchAdd });
    expect(local.getBigUint64(0, true)).toBe(old);
    expect(remote.getBigUint64(64, true)).toBe(old + 0x1_0000_0001n);

    a.post({ opcode: 'compareSwap', ...target, compareAdd: 1n, swap: 2n });
    a.post({ opcode: 'compareSwap', ...target, compareAdd: old + 0x1_0000_0001n, swap: 5n });
    await group.take(2);
    expect(remote.getBigUint64(64, true)).toBe(5n);
  });

  it('keeps the order of one queue, signalling only where asked', async () => {
    for (let index = 0; index < 50; index++) {
      b.post({ opcode: 'receive', wrId: index, localOffset: index, length: 1 });
    }
    for (let index = 0; index < 50; index++) {
      a.bytes[index] = index;
      const flags = index % 10 === 9 ? PostFlag.signaled : 0;
      a.post({ opcode: 'send', flags, wrId: 1000 + index, localOffset: index, length: 1 });
    }
    const all = await group.take(55);
    const received = all.filter((completion) => completion.qpIndex === b.qp.index);
    const sent = all.filter((completion) => completion.qpIndex === a.qp.index);
    expect(received.map((completion) => completion.wrId)).toEqual([...Array(50).keys()]);
    expect(sent.map((completion) => completion.wrId)).toEqual([1009, 1019, 1029, 1039, 1049]);
    expect([...b.bytes.subarray(0, 50)]).toEqual([...Array(50).keys()]);
  });

  it('rings one doorbell per queue for a whole batch', async () => {
    for (let index = 0; index < 10; index++) b.post({ opcode: 'receive', length: 1 });
    for (let index = 0; index < 10; index++) a.post({ opcode: 'send', length: 1 });
    await group.take(20);
    expect(group.native.stats()).toMatchObject({ posts: 20, postBatches: 2, postFailures: 0 });
    expect(group.native.posts[PostHeader.count]).toBe(0);
  });

  it('posts what a callback writes without waiting for the next turn of the loop', async () => {
    let answered = false;
    group.onBatch = () => {
      if (answered) return;
      answered = true;
      a.post({ opcode: 'receive', wrId: 2, length: 8 });
      b.post({ opcode: 'send', wrId: 3, flags: 0, length: 8 });
    };
    b.post({ opcode: 'receive', wrId: 1, length: 8 });
    a.post({ opcode: 'send', flags: 0, length: 8 });
    const completions = await group.take(2);
    expect(completions.map((completion) => completion.wrId)).toEqual([1, 2]);
  });
});

describe('failures', () => {
  it('reports an access outside the remote region and flushes what follows', async () => {
    a.post({ opcode: 'write', wrId: 1, length: 16, remoteAddress: 65_530, rkey: b.mr.rkey });
    a.post({ opcode: 'write', wrId: 2, length: 16, rkey: b.mr.rkey });
    const [first, second] = await group.take(2);
    expect(first).toMatchObject({ wrId: 1, status: WcStatus.remoteAccess, opcode: 0, flags: 0 });
    expect(second).toMatchObject({ wrId: 2, status: WcStatus.flushed });
    expect(a.qp.queryState()).toBe('ERR');
  });

  it('flushes every outstanding work request exactly once', async () => {
    for (let index = 0; index < 20; index++) b.post({ opcode: 'receive', wrId: index, length: 8 });
    group.native.flush();
    b.qp.modify({ state: 'ERR' });
    b.post({ opcode: 'receive', wrId: 20 });
    b.post({ opcode: 'send', wrId: 21 });
    const flushed = await group.take(22);
    expect(flushed.every((completion) => completion.status === WcStatus.flushed)).toBe(true);
    expect(flushed.map((completion) => completion.wrId).sort((x, y) => x - y)).toEqual([
      ...Array(22).keys(),
    ]);
    expect(group.untaken).toEqual([]);
  });

  it.each([
    ['an unknown memory region', { opcode: 'send', mrIndex: 5, length: 1 }, Errno.EFAULT],
    ['a range past its end', { opcode: 'send', localOffset: 65_530, length: 7 }, Errno.EFAULT],
    ['a range that wraps', { opcode: 'send', localOffset: 8, length: 0xffff_fffc }, Errno.EFAULT],
    ['too many inline bytes', { opcode: 'send', flags: 5, length: 65 }, Errno.EMSGSIZE],
    ['an inline read', { opcode: 'read', flags: 5, length: 8 }, Errno.EINVAL],
    ['an atomic of another size', { opcode: 'fetchAdd', length: 4 }, Errno.EINVAL],
    ['unknown flags', { opcode: 'send', flags: 16 }, Errno.EINVAL],
    ['flags on a receive', { opcode: 'receive', flags: 1 }, Errno.EINVAL],
  ] as const)('refuses a descriptor with %s', async (_, post, errno) => {
    a.post({ wrId: 99, ...post });
    expect(await group.next()).toEqual({
      qpIndex: a.qp.index,
      wrId: 99,
      status: WcStatus.general,
      opcode: 0,
      byteLen: 0,
      imm: 0,
      flags: COMPLETION_POST_FAILED,
      vendorError: errno,
    });
    expect(a.qp.queryState()).toBe('RTS');
  });

  it('refuses an opcode that does not exist', async () => {
    a.post({ opcode: 'send' });
    group.native.posts[17] = 8;
    expect(await group.next()).toMatchObject({ vendorError: Errno.EINVAL });
  });

  it('fails a refused descriptor and all after it on the same queue, and no other', async () => {
    b.post({ opcode: 'receive', wrId: 1, length: 8 });
    a.post({ opcode: 'send', wrId: 10, length: 1 });
    a.post({ opcode: 'send', wrId: 11, mrIndex: 0, length: 1 });
    a.post({ opcode: 'send', wrId: 12, length: 1 });
    b.post({ opcode: 'receive', wrId: 2, length: 8 });
    a.post({ opcode: 'receive', wrId: 13, length: 1 });
    const completions = await group.take(4);
    const failed = completions.filter((each) => each.flags === COMPLETION_POST_FAILED);
    expect(failed.map((each) => [each.wrId, each.vendorError])).toEqual([
      [11, Errno.EFAULT],
      [12, Errno.ECANCELED],
    ]);
    const done = completions.filter((each) => each.flags === 0);
    expect(done.map((each) => each.wrId).sort((x, y) => x - y)).toEqual([1, 10]);
    expect(group.native.stats()).toMatchObject({ posts: 4, postFailures: 2 });
  });

  it('fails what does not fit into the send queue', async () => {
    for (let index = 0; index < 70; index++) a.post({ opcode: 'write', wrId: index, flags: 0 });
    const failed = await group.take(6);
    expect(failed.map((each) => each.wrId)).toEqual([64, 65, 66, 67, 68, 69]);
    expect(failed.every((each) => each.flags === COMPLETION_POST_FAILED)).toBe(true);
    expect(failed[0]?.vendorError).toBe(Errno.ENOMEM);
    expect(failed[1]?.vendorError).toBe(Errno.ECANCELED);
  });

  it('fails posts to a closed queue pair, even when its slot has a new tenant', async () => {
    const stale = a.qp.index;
    a.qp.close();
    const tenant = group.native.createQp({
      pd: a.pd,
      cq: a.cq,
      maxSendWr: 4,
      maxRecvWr: 4,
      maxInline: 0,
    });
    expect(tenant.index).not.toBe(stale);
    group.post({ qpIndex: stale, opcode: 'send', wrId: 5 });
    expect(await group.next()).toMatchObject({
      qpIndex: stale,
      wrId: 5,
      flags: COMPLETION_POST_FAILED,
      vendorError: Errno.EBADF,
    });
  });

  it('delivers more failures than the completion ring holds, in order', async () => {
    const small = new TestGroup(device, { completionCapacity: 4, postCapacity: 32 });
    for (let index = 0; index < 32; index++) {
      small.post({ qpIndex: 1, opcode: 'send', wrId: index });
    }
    const failed = await small.take(32);
    expect(failed.map((each) => each.wrId)).toEqual([...Array(32).keys()]);
    expect(small.native.stats().batches).toBe(8);
  });

  it('throws from flush() when the header counts more descriptors than there are', () => {
    group.native.posts[PostHeader.count] = 1025;
    expect(() => {
      group.native.flush();
    }).toThrow(expect.objectContaining({ code: 'ERR_VERBENA_ARGUMENT' }));
    expect(group.native.posts[PostHeader.count]).toBe(0);
  });
});
