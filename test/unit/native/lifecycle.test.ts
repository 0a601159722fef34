// Closing: its order, its repetition, and the ways in which programs and threads end without it.
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NativeDevice } from '../../../src/native/addon.js';
import { loadAddon, softLibraryPath } from '../../../src/native/load.js';
import { addonPath, EchoWorker } from '../../helpers/echo-worker.js';
import { connectEnds, LoopbackEnd, openSoftDevice, TestGroup } from '../../helpers/loopback.js';
import { TestProcess } from '../../helpers/process.js';

const addon = loadAddon();
const nothing = { pd: 0, cq: 0, qp: 0, mr: 0, device: 0 };
let device: NativeDevice;

beforeEach(() => {
  device = openSoftDevice();
});

afterEach(() => {
  addon.closeAll();
  expect(addon.liveObjects()).toEqual(nothing);
  expect(addon.processObjects()).toEqual(nothing);
});

const withCode = (code: string): unknown => expect.objectContaining({ code }) as unknown;

const fixture = (name: string): string => join(import.meta.dirname, 'fixtures', name);

/** Runs a fixture in a process of its own; it must end by itself, cleanly and in silence. */
async function run(name: string, args: readonly string[] = [], flags: readonly string[] = []) {
  await using child = new TestProcess(
    process.execPath,
    [...flags, fixture(name), addonPath(), softLibraryPath(), ...args],
    { timeoutMs: 20_000 },
  );
  return await child.ended;
}

describe('close()', () => {
  it('refuses a parent whose children belong to somebody else', () => {
    const group = new TestGroup(device);
    const end = new LoopbackEnd(device, group);
    for (const parent of [end.pd, end.cq, device]) {
      expect(() => {
        parent.close();
      }).toThrow(withCode('ERR_VERBENA_IN_USE'));
    }
    // A refused close takes nothing away.
    expect(addon.liveObjects()).toEqual({ pd: 1, cq: 1, qp: 1, mr: 1, device: 1 });
    expect(end.qp.queryState()).toBe('INIT');
  });

  it('closes what was made from a protection domain or a poll group first', () => {
    const group = new TestGroup(device);
    const end = new LoopbackEnd(device, group);
    group.native.close();
    expect(addon.liveObjects()).toEqual({ pd: 1, cq: 0, qp: 0, mr: 1, device: 1 });
    end.pd.close();
    device.close();
    expect(addon.liveObjects()).toEqual(nothing);
  });

  it('may be repeated, and everything else then says that the object is closed', () => {
    const group = new TestGroup(device);
    const { pd, cq, qp, mr } = new LoopbackEnd(device, group);
    for (let round = 0; round < 2; round++) {
      for (const object of [qp, cq, mr, pd, group.native, device]) object.close();
    }
    const uses: (() => unknown)[] = [
      () => qp.queryState(),
      () => pd.registerMemory(addon.allocateSlab(4096), 0, 4096, 1),
      () => group.native.createCq(1),
      () => {
        group.native.flush();
      },
      () => group.native.stats(),
      () => device.allocPd(),
    ];
    for (const use of uses) expect(use).toThrow(withCode('ERR_VERBENA_CLOSED'));
  });

  it('of one handle leaves the shared device to the other', () => {
    const other = openSoftDevice();
    expect(addon.liveObjects().device).toBe(2);
    other.close();
    expect(device.queryPort(1).state).toBe('ACTIVE');
  });

  it('inside a completion callback is safe, and no callback follows', async () => {
    const group = new TestGroup(device);
    const a = new LoopbackEnd(device, group);
    const b = new LoopbackEnd(device, group);
    connectEnds(device, a, b);
    let batches = 0;
    const closed = new Promise<void>((resolve) => {
      group.onBatch = () => {
        batches++;
        addon.closeAll();
        resolve();
      };
    });
    for (let index = 0; index < 8; index++) b.post({ opcode: 'receive', length: 8 });
    for (let index = 0; index < 8; index++) a.post({ opcode: 'send', length: 8 });
    await closed;
    for (let index = 0; index < 10; index++) await new Promise((resolve) => setImmediate(resolve));
    expect(batches).toBe(1);
    expect(addon.liveObjects()).toEqual(nothing);
  });
});

describe('arguments', () => {
  it.each([
    ['a buffer of somebody else', (): unknown[] => [new ArrayBuffer(4096), 0, 4096, 1]],
    ['a range past the end', (): unknown[] => [addon.allocateSlab(4096), 1, 4096, 1]],
    ['an empty range', (): unknown[] => [addon.allocateSlab(4096), 0, 0, 1]],
    ['a negative offset', (): unknown[] => [addon.allocateSlab(4096), -1, 8, 1]],
    ['a fraction', (): unknown[] => [addon.allocateSlab(4096), 0, 8.5, 1]],
    ['unknown access bits', (): unknown[] => [addon.allocateSlab(4096), 0, 8, 16]],
  ])('of registerMemory() are refused: %s', (_, make) => {
    const pd = device.allocPd();
    const call = (): unknown => Reflect.apply(pd.registerMemory.bind(pd), pd, make());
    expect(call).toThrow(TypeError);
    expect(call).toThrow(withCode('ERR_VERBENA_ARGUMENT'));
  });

  it('are refused when an object is of another class, even in its clothes', () => {
    const group = new TestGroup(device);
    const pd = device.allocPd();
    const cq = group.native.createCq(4);
    const limits = { maxSendWr: 1, maxRecvWr: 1, maxInline: 0 };
    const dressedUp: unknown = Object.setPrototypeOf(
      device.allocPd(),
      Object.getPrototypeOf(cq) as object,
    );
    for (const wrong of [pd, dressedUp, {}, undefined]) {
      expect(() => group.native.createQp({ ...limits, pd, cq: wrong as typeof cq })).toThrow(
        withCode('ERR_VERBENA_ARGUMENT'),
      );
    }
    const close = Reflect.get(cq, 'close');
    expect(() => {
      Reflect.apply(close, pd, []);
    }).toThrow(TypeError);
  });

  it('cannot make an object without its parent', () => {
    const { constructor } = Object.getPrototypeOf(device) as { constructor: new () => unknown };
    expect(() => new constructor()).toThrow(/cannot be constructed/);
  });

  it('of modify() are refused by name', () => {
    const { qp } = new LoopbackEnd(device, new TestGroup(device));
    const modify = (attributes: object): (() => void) => {
      return () => {
        qp.modify(attributes as Parameters<typeof qp.modify>[0]);
      };
    };
    expect(modify({ state: 'INIT', acces: 1 })).toThrow(/`acces`/);
    expect(modify({ state: 'READY' })).toThrow(/READY/);
    expect(modify({ state: 'RTR', mtu: 1000 })).toThrow(/`mtu`/);
    expect(modify({ state: 'RTR', destQpn: 2 ** 24 })).toThrow(/`destQpn`/);
    expect(modify({ state: 'RTR', path: { port: 1, gid: 'zz' } })).toThrow(/`path.gid`/);
    expect(modify({ state: 'RTR', path: {} })).toThrow(/`path.port`/);
  });

  it('of a transition name what is missing and what does not belong there', () => {
    const { qp } = new LoopbackEnd(device, new TestGroup(device));
    expect(() => {
      qp.modify({ state: 'RTR', mtu: 1024, destQpn: 1, rqPsn: 1, sqPsn: 1 });
    }).toThrow(
      expect.objectContaining({
        code: 'ERR_VERBENA_QP_TRANSITION',
        missing: expect.arrayContaining(['path', 'minRnrTimer', 'maxDestRdAtomic']) as unknown,
        illegal: ['sqPsn'],
      }),
    );
    expect(qp.queryState()).toBe('INIT');
  });

  it('that the device refuses give the operation and the errno', () => {
    const pd = device.allocPd();
    // Remote write without local write.
    expect(() => pd.registerMemory(addon.allocateSlab(4096), 0, 4096, 2)).toThrow(
      expect.objectContaining({
        code: 'ERR_VERBENA_VERBS',
        operation: 'ibv_reg_mr_iova2',
        errno: 22,
        errnoName: 'EINVAL',
      }),
    );
  });
});

describe('memory', () => {
  it('outlives its buffer while a region covers it', async () => {
    const { stdout, stderr } = await run('drop-buffer.mjs', [], ['--expose-gc']);
    expect({ stdout, stderr }).toEqual({
      stdout: 'collected; the peer received 7,7,7,7,7,7,7,7\n',
      stderr: '',
    });
  });

  it('stays with its thread', () => {
    const slab = addon.allocateSlab(4096);
    try {
      // Node 20 copies it, later versions refuse.
      structuredClone(slab, { transfer: [slab] });
    } catch (error) {
      expect(error).toMatchObject({ name: 'DataCloneError' });
    }
    expect(slab.byteLength).toBe(4096);
  });

  it('is given back only once it was left to the garbage collector', () => {
    const slab = addon.allocateSlab(8192);
    new Uint8Array(slab).fill(7);
    expect(addon.giveBackSlab(slab)).toBe(false);
    addon.leaveSlabToCollector(slab);
    expect(addon.giveBackSlab(slab)).toBe(true);
    expect(slab.byteLength).toBe(0);
    expect(addon.giveBackSlab(slab)).toBe(false);
    const next = addon.allocateSlab(8192, false);
    expect(new Uint8Array(next)[0]).toBe(7);
    expect(addon.giveBackSlab(new ArrayBuffer(8192))).toBe(false);
  });

  it('that was given back is not disturbed when its old buffer is collected', async () => {
    const { stdout, stderr } = await run('give-back.mjs', [], ['--expose-gc']);
    expect({ stdout, stderr }).toEqual({ stdout: 'the next user keeps it\n', stderr: '' });
  });

  it('is zeroed and exactly as long as asked for', () => {
    const slab = addon.allocateSlab(12_345);
    expect(slab.byteLength).toBe(12_345);
    expect(new Uint8Array(slab).every((byte) => byte === 0)).toBe(true);
  });

  // From Node 23 on V8 lets nothing be taken off its count: all slabs weigh in full.
  const weighsInFull = Number.parseInt(process.versions.node) >= 23;

  it.each([
    ['kept', weighsInFull ? 'often 64\n' : 'never 64\n'],
    ['left', 'often 64\n'],
  ])('makes the garbage collector work only when it is left to it: %s', async (fate, stdout) => {
    expect(await run('hold-slabs.mjs', [fate])).toMatchObject({ stdout, stderr: '' });
  });

  it('that was left is found among the youngest objects, and used again', async () => {
    const { stdout, stderr } = await run('drop-slabs.mjs');
    const kind = weighsInFull ? 'major' : 'minor';
    expect({ stdout, stderr }).toEqual({ stdout: `${kind}, used again\n`, stderr: '' });
  });

  it('that cannot be had is a typed error', () => {
    expect(() => addon.allocateSlab(2 ** 50)).toThrow(
      expect.objectContaining({ code: 'ERR_VERBENA_NO_MEMORY', errnoName: 'ENOMEM' }),
    );
  });
});

describe('a program that ends with everything open', () => {
  it.each([
    'natural-end',
    'exit-in-callback',
    'exit-handler',
    'close-all-in-callback',
    'close-group-in-callback',
    'close-queue-pairs-in-callback',
  ])('ends cleanly: %s', async (way) => {
    expect(await run('leave-open.mjs', [way])).toEqual({
      code: 0,
      signal: null,
      stdout: '',
      stderr: '',
    });
  });

  it('dies of an exception in a completion callback like any Node program', async () => {
    const ended = await run('leave-open.mjs', ['uncaught-exception']);
    expect(ended).toMatchObject({ code: 1, signal: null });
    expect(ended.stderr).toContain('Error: thrown in a completion callback');
  });

  it.each([
    'caught-exception',
    'caught-exception-in-tick',
    'caught-rejection',
    'caught-ring-error',
  ])('goes on after a handled exception: %s', async (way) => {
    expect(await run('leave-open.mjs', [way])).toEqual({
      code: 0,
      signal: null,
      stdout: 'caught 1, went on\n',
      stderr: '',
    });
  });

  it('closes what the garbage collector finds, children first', async () => {
    const { stdout, stderr } = await run('forget.mjs', [], ['--expose-gc']);
    expect(stderr).toBe('');
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      { pd: 50, cq: 50, qp: 50, mr: 50, device: 1 },
      { pd: 0, cq: 0, qp: 0, mr: 0, device: 1 },
      nothing,
    ]);
  });
});

describe('worker threads that share the device', () => {
  /** Sends one message and waits for the echo. */
  async function echoOnce(group: TestGroup, end: LoopbackEnd): Promise<void> {
    end.post({ opcode: 'receive', length: 8 });
    end.post({ opcode: 'send', length: 8 });
    const both = await group.take(2);
    expect(both.map((each) => each.status)).toEqual([0, 0]);
  }

  it('come and go, four at a time, with everything open at their end', async () => {
    for (let round = 0; round < 3; round++) {
      const group = new TestGroup(device);
      const ends = Array.from({ length: 4 }, () => new LoopbackEnd(device, group));
      const workers = await Promise.all(ends.map((end) => EchoWorker.connect(device, end)));
      for (const end of ends) await echoOnce(group, end);
      await Promise.all(workers.map((worker) => worker.end()));
      for (const end of ends) end.close();
      group.native.close();
    }
    expect(device.queryPort(1).state).toBe('ACTIVE');
  });

  it('are counted with this one while they live, and no longer', async () => {
    const group = new TestGroup(device);
    const end = new LoopbackEnd(device, group);
    const own = { pd: 1, cq: 1, qp: 1, mr: 1, device: 1 };
    expect(addon.processObjects()).toEqual(own);
    const { worker } = await EchoWorker.connect(device, end);
    expect(addon.liveObjects()).toEqual(own);
    expect(addon.processObjects()).toEqual({ pd: 2, cq: 2, qp: 2, mr: 2, device: 2 });
    await worker.terminate();
    expect(addon.processObjects()).toEqual(own);
  });

  it('may call process.exit() in a completion callback', async () => {
    const group = new TestGroup(device);
    const end = new LoopbackEnd(device, group);
    const { worker } = await EchoWorker.connect(device, end, { exitAfter: 3 });
    const exited = once(worker, 'exit');
    await echoOnce(group, end);
    await echoOnce(group, end);
    end.post({ opcode: 'send', length: 8 });
    expect(await exited).toEqual([0]);
  });

  it('report an exception in a completion callback to their parent', async () => {
    const group = new TestGroup(device);
    const end = new LoopbackEnd(device, group);
    const { worker } = await EchoWorker.connect(device, end, { throwAfter: 1 });
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    const failed = new Promise((resolve) => worker.once('error', resolve));
    end.post({ opcode: 'send', length: 8 });
    expect(await failed).toMatchObject({ message: 'thrown in a completion callback' });
    expect(await exited).toBe(1);
  });

  it('can be terminated at any moment', async () => {
    for (let round = 0; round < 10; round++) {
      const group = new TestGroup(device);
      const end = new LoopbackEnd(device, group);
      const { worker } = await EchoWorker.connect(device, end, { spinUs: 50 });
      let messages = 0;
      const enough = new Promise<void>((resolve) => {
        group.onBatch = () => {
          end.post({ opcode: 'receive', length: 8 });
          end.post({ opcode: 'send', flags: 0, length: 8 });
          if (++messages === 10 * round) resolve();
        };
      });
      if (round > 0) {
        end.post({ opcode: 'receive', length: 8 });
        end.post({ opcode: 'send', flags: 0, length: 8 });
        await enough;
      }
      await worker.terminate();
      group.onBatch = () => undefined;
      end.close();
      group.native.close();
    }
    expect(addon.liveObjects()).toEqual({ ...nothing, device: 1 });
  });
});
