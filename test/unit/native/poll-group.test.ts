// When the poll group polls, arms, sleeps and wakes, and that it never sleeps on work.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  PostHeader,
  type NativeDevice,
  type NativePollGroupOptions,
} from '../../../src/native/addon.js';
import { loadAddon } from '../../../src/native/load.js';
import { EchoWorker } from '../../helpers/echo-worker.js';
import { connectEnds, LoopbackEnd, openSoftDevice, TestGroup } from '../../helpers/loopback.js';
import { eventually } from '../../helpers/process.js';

let device: NativeDevice;

beforeEach(() => {
  device = openSoftDevice();
});

afterEach(() => {
  loadAddon().closeAll();
});

function pair(options: Omit<NativePollGroupOptions, 'onCompletions'>): {
  group: TestGroup;
  a: LoopbackEnd;
  b: LoopbackEnd;
} {
  const group = new TestGroup(device, options);
  const a = new LoopbackEnd(device, group);
  const b = new LoopbackEnd(device, group);
  connectEnds(device, a, b);
  return { group, a, b };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const pause = (delayMs: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, delayMs));

/** The loop arms when it has nothing else to do, which a loaded machine may put off. */
const allArmed = (group: TestGroup): Promise<void> =>
  eventually(() => group.native.stats().hotCqs === 0, 5000, 'all queues ARMED');

/**
 * Answers every message that arrives at one of the ends; resolves when the first end got `rounds`
 * of them, rejects when it stalls. The first end opens with `window` messages.
 */
function pingPong(ends: readonly LoopbackEnd[], rounds: number, window = 1): Promise<void> {
  const [first] = ends;
  if (first === undefined) throw new Error('no ends');
  const { group } = first;
  const byIndex = new Map(ends.map((end) => [end.qp.index, end]));
  return new Promise((resolve, reject) => {
    let arrived = 0;
    let seen = -1;
    const finish = (error?: Error): void => {
      clearInterval(watchdog);
      group.onBatch = () => undefined;
      if (error === undefined) resolve();
      else reject(error);
    };
    const watchdog = setInterval(() => {
      if (arrived === seen) finish(new Error(`stalled after ${arrived} of ${rounds} rounds`));
      seen = arrived;
    }, 5000);
    group.onBatch = (count) => {
      for (const { qpIndex, status, opcode } of group.peek(count)) {
        if (status !== 0) finish(new Error(`completion with status ${status}`));
        const end = byIndex.get(qpIndex);
        if (opcode !== 128 || end === undefined) continue;
        if (end === first && ++arrived === rounds) {
          finish();
          return;
        }
        end.post({ opcode: 'receive', length: 64 });
        end.post({ opcode: 'send', length: 8 });
      }
    };
    for (const end of ends) {
      for (let index = 0; index < 8; index++) end.post({ opcode: 'receive', length: 64 });
    }
    for (let index = 0; index < window; index++) first.post({ opcode: 'send', length: 8 });
  });
}

describe('a completion queue', () => {
  it('is ARMED when it is made, HOT with completions, ARMED before the loop sleeps', async () => {
    const { group, a, b } = pair({ spinUs: 0 });
    expect(group.native.stats()).toMatchObject({ hotCqs: 0, armedCqs: 2 });
    const busy = pingPong([a, b], 50);
    let hot = 0;
    const answer = group.onBatch;
    group.onBatch = (count) => {
      hot = Math.max(hot, group.native.stats().hotCqs);
      answer(count);
    };
    await busy;
    expect(hot).toBeGreaterThan(0);
    await allArmed(group);
    expect(group.native.stats()).toMatchObject({ hotCqs: 0, armedCqs: 2 });
  });

  it('is not polled while it is ARMED and silent', async () => {
    const { group } = pair({ spinUs: 0 });
    await allArmed(group);
    const before = group.native.stats();
    for (let index = 0; index < 100; index++) await turn();
    await pause(20);
    expect(group.native.stats()).toMatchObject({ polls: before.polls, wakeups: before.wakeups });
  });

  it('is ARMED after so many empty polls while another one stays busy', async () => {
    const { group, a, b } = pair({ spinUs: 0, emptyPollsBeforeArm: 4 });
    const silent = new LoopbackEnd(device, group);
    const busy = pingPong([a, b], 500);
    await turn();
    let polledAtOnce = Infinity;
    const answer = group.onBatch;
    group.onBatch = (count) => {
      polledAtOnce = Math.min(polledAtOnce, group.native.stats().hotCqs);
      answer(count);
    };
    await busy;
    expect(polledAtOnce).toBeLessThan(3);
    silent.close();
  });

  it('is not ARMED while a large transfer moves, however long it is silent', async () => {
    const { group, a, b } = pair({ spinUs: 1_000_000, emptyPollsBeforeArm: 4 });
    const c = new LoopbackEnd(device, group);
    const d = new LoopbackEnd(device, group);
    connectEnds(device, c, d);
    group.native.posts[PostHeader.transfers] = 1;
    await pingPong([c, d], 2);
    let hot = 0;
    const look = async (): Promise<void> => {
      const busy = pingPong([a, b], 500);
      const answer = group.onBatch;
      group.onBatch = (count) => {
        hot = group.native.stats().hotCqs;
        answer(count);
      };
      await busy;
    };
    await look();
    expect(hot).toBe(4);
    group.native.posts[PostHeader.transfers] = 0;
    await look();
    expect(hot).toBe(2);
  });

  it('wakes the loop when it is ARMED and something arrives', async () => {
    const { group, a, b } = pair({ spinUs: 0 });
    await allArmed(group);
    const before = group.native.stats();
    b.post({ opcode: 'receive', wrId: 5, length: 8 });
    a.post({ opcode: 'send', flags: 0, length: 8 });
    expect((await group.next()).wrId).toBe(5);
    expect(group.native.stats().wakeups).toBeGreaterThan(before.wakeups);
  });

  it('can be closed with events that were read and not acknowledged', async () => {
    const { group, a, b } = pair({ spinUs: 0 });
    for (let index = 0; index < 10; index++) {
      b.post({ opcode: 'receive', length: 8 });
      a.post({ opcode: 'send', flags: 0, length: 8 });
      await group.next();
      await pause(2);
    }
    expect(group.native.stats().wakeups).toBeGreaterThan(0);
    a.close();
    b.close();
    group.native.close();
    expect(loadAddon().liveObjects()).toEqual({ pd: 0, cq: 0, qp: 0, mr: 0, device: 1 });
  });
});

describe('the loop', () => {
  it('loses no wake-up in 100 000 rounds between two threads that sleep', async () => {
    const group = new TestGroup(device, { spinUs: 0 });
    const end = new LoopbackEnd(device, group);
    const peer = await EchoWorker.connect(device, end, { spinUs: 0 });
    await pingPong([end], 100_000);
    const own = group.native.stats();
    const theirs = await peer.end();
    expect(own.spins + theirs.spins).toBe(0);
    expect(own.completions).toBeGreaterThanOrEqual(200_000);
    // Not a number of rounds: when both threads happen to be awake, nobody sleeps.
    expect(own.wakeups).toBeGreaterThan(10_000);
    expect(theirs.wakeups).toBeGreaterThan(10_000);
  }, 60_000);

  it('loses no wake-up when it spins before it sleeps', async () => {
    const group = new TestGroup(device, { spinUs: 50 });
    const end = new LoopbackEnd(device, group);
    const peer = await EchoWorker.connect(device, end, { spinUs: 50 });
    const startMs = performance.now();
    await pingPong([end], 20_000);
    const own = group.native.stats();
    const elapsedNs = (performance.now() - startMs) * 1e6;
    const theirs = await peer.end();
    expect(own.spinNs > 0).toBe(own.spins > 0);
    expect(own.spinNs).toBeLessThan(elapsedNs);
    expect(own.spinHits + theirs.spinHits).toBeGreaterThan(0);
    expect(own.spinHits).toBeLessThanOrEqual(own.spins);
  }, 60_000);

  it('loses no wake-up with several messages under way in one thread', async () => {
    const { group, a, b } = pair({ spinUs: 0 });
    await pingPong([a, b], 20_000, 4);
    expect(group.native.stats().postFailures).toBe(0);
  }, 60_000);

  it('serves timers and immediates while completions keep coming', async () => {
    const { a, b } = pair({ spinUs: 100 });
    let finished = false;
    const busy = pingPong([a, b], 5000).then(() => {
      finished = true;
    });
    let turns = 0;
    while (!finished) {
      await turn();
      turns++;
    }
    await busy;
    expect(turns).toBeGreaterThan(100);
  });

  it('posts at once what a callback of another group wrote', async () => {
    const first = pair({ spinUs: 0 });
    const second = pair({ spinUs: 0 });
    // Whichever group has its turn first, the other one's callback writes after that.
    const answered = new Promise<void>((resolve) => {
      let left = 2;
      const cross = (from: typeof first, to: typeof first): void => {
        from.group.onBatch = () => {
          from.group.onBatch = () => undefined;
          to.b.post({ opcode: 'receive', length: 8 });
          to.a.post({ opcode: 'write', wrId: 77, length: 1, rkey: to.b.mr.rkey });
          if (--left === 0) resolve();
        };
      };
      cross(first, second);
      cross(second, first);
    });
    for (const { a, b } of [first, second]) {
      a.post({ opcode: 'write', wrId: 1, length: 1, rkey: b.mr.rkey });
    }
    await answered;
    for (const { group } of [first, second]) {
      const done = await group.take(2);
      expect(done.map((each) => each.wrId)).toEqual([1, 77]);
    }
  });

  it('posts the receives of a batch before its sends, whoever they belong to', async () => {
    const group = new TestGroup(device, { spinUs: 0 });
    const a = new LoopbackEnd(device, group);
    const b = new LoopbackEnd(device, group);
    // A message that finds no receive fails at once instead of being sent again.
    connectEnds(device, a, b, 0);
    for (let round = 0; round < 500; round++) {
      for (let message = 0; message < 32; message++) {
        a.post({ opcode: 'send', flags: 0, length: 1 });
        b.post({ opcode: 'receive', length: 1 });
      }
      for (const { status } of await group.take(32)) expect(status).toBe(0);
    }
  });

  it('hands a batch over in one callback, at most what the ring holds', async () => {
    const { group, a, b } = pair({ spinUs: 0, completionCapacity: 8 });
    const batches: number[] = [];
    group.onBatch = (count) => batches.push(count);
    for (let index = 0; index < 40; index++) b.post({ opcode: 'receive', wrId: index, length: 1 });
    for (let index = 0; index < 40; index++) a.post({ opcode: 'send', flags: 0, length: 1 });
    const received = await group.take(40);
    expect(received.map((each) => each.wrId)).toEqual([...Array(40).keys()]);
    expect(Math.max(...batches)).toBeLessThanOrEqual(8);
    expect(group.native.stats().batches).toBe(batches.length);
  });

  it('runs promise reactions and ticks of a batch before the next one', async () => {
    const { group, a, b } = pair({ spinUs: 0, completionCapacity: 1 });
    const order: string[] = [];
    let batch = 0;
    group.onBatch = () => {
      const name = String(batch++);
      order.push(`batch ${name}`);
      process.nextTick(() => order.push(`tick ${name}`));
      void Promise.resolve().then(() => order.push(`reaction ${name}`));
    };
    for (let index = 0; index < 2; index++) b.post({ opcode: 'receive', length: 1 });
    for (let index = 0; index < 2; index++) a.post({ opcode: 'send', flags: 0, length: 1 });
    await group.take(2);
    await turn();
    expect(order).toEqual(['batch 0', 'tick 0', 'reaction 0', 'batch 1', 'tick 1', 'reaction 1']);
  });
});
