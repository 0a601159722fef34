// Asynchronous events of a device that several threads share: who gets which, and when.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NativeAsyncEvent, NativeDevice } from '../../../src/native/addon.js';
import { loadAddon, softLibraryPath } from '../../../src/native/load.js';
import { addonPath } from '../../helpers/echo-worker.js';
import { connectEnds, LoopbackEnd, openSoftDevice, TestGroup } from '../../helpers/loopback.js';

const WC_REMOTE_INVALID_REQUEST = 9;
const WC_REMOTE_ACCESS_ERROR = 10;

let device: NativeDevice;
let group: TestGroup;

beforeEach(() => {
  device = openSoftDevice();
  group = new TestGroup(device);
});

afterEach(() => {
  loadAddon().closeAll();
});

/** Connects two queue pairs and makes the second one see an access that it must refuse. */
async function violate(): Promise<LoopbackEnd> {
  const a = new LoopbackEnd(device, group);
  const b = new LoopbackEnd(device, group);
  connectEnds(device, a, b);
  a.post({ opcode: 'write', length: 8, rkey: a.mr.rkey ^ 1 });
  expect((await group.next()).status).toBe(WC_REMOTE_ACCESS_ERROR);
  return b;
}

const nextEvent = (on: NativeDevice = device): Promise<NativeAsyncEvent> =>
  new Promise((resolve) => {
    on.setAsyncEventHandler(resolve);
  });

const pause = (delayMs: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, delayMs));

describe('an event handler', () => {
  it('learns which queue pair had an access error', async () => {
    const event = nextEvent();
    const victim = await violate();
    expect(await event).toEqual({ event: 'QP_ACCESS_ERR', qpIndex: victim.qp.index });
  });

  it('gets what happened before it was set, in order', async () => {
    const first = await violate();
    const second = await violate();
    const events: NativeAsyncEvent[] = [];
    const both = new Promise<void>((resolve) => {
      device.setAsyncEventHandler((event) => {
        if (events.push(event) === 2) resolve();
      });
    });
    await both;
    expect(events.map((event) => event.qpIndex)).toEqual([first.qp.index, second.qp.index]);
  });

  it('is not called after it was taken away, inside of itself or outside', async () => {
    await violate();
    await violate();
    let calls = 0;
    await new Promise<void>((resolve) => {
      device.setAsyncEventHandler(() => {
        calls++;
        device.setAsyncEventHandler(undefined);
        resolve();
      });
    });
    await pause(20);
    expect(calls).toBe(1);
    expect((await nextEvent()).event).toBe('QP_ACCESS_ERR');
  });

  it('may close everything, its own device included', async () => {
    await violate();
    await violate();
    let calls = 0;
    await new Promise<void>((resolve) => {
      device.setAsyncEventHandler(() => {
        calls++;
        loadAddon().closeAll();
        resolve();
      });
    });
    await pause(20);
    expect(calls).toBe(1);
  });

  it('of a second handle gets the event too', async () => {
    const other = openSoftDevice();
    const events = Promise.all([nextEvent(), nextEvent(other)]);
    const victim = await violate();
    const expected = { event: 'QP_ACCESS_ERR', qpIndex: victim.qp.index };
    expect(await events).toEqual([expected, expected]);
  });

  it('does not keep a queue pair from being destroyed when there is none', async () => {
    const victim = await violate();
    await pause(20);
    victim.close();
  });
});

describe('threads that share the device', () => {
  it('each get the events of their own queue pairs, even when they were busy', async () => {
    const gate = new Int32Array(new SharedArrayBuffer(4));
    const end = new LoopbackEnd(device, group);
    const worker = new Worker(new URL('fixtures/event-worker.mjs', import.meta.url), {
      workerData: {
        addonPath: addonPath(),
        libraryPath: softLibraryPath(),
        peerQpn: end.qp.qpn,
        gate,
      },
    });
    interface Message {
      readonly qpn?: number;
      readonly qpIndex?: number;
      readonly event?: NativeAsyncEvent;
    }
    const reply = async (): Promise<Message> => {
      const [message] = (await once(worker, 'message')) as [Message];
      return message;
    };
    const { qpn, qpIndex } = await reply();
    end.connect(device.gidTable(1)[0]?.gid ?? '', qpn ?? 0, 5, 5);

    const own: NativeAsyncEvent[] = [];
    device.setAsyncEventHandler((event) => own.push(event));
    worker.postMessage('block');
    expect(await reply()).toEqual({ blocked: true });
    // The worker's queue pair grants nothing.
    end.post({ opcode: 'write', length: 8, rkey: end.mr.rkey });
    expect((await group.next()).status).toBe(WC_REMOTE_INVALID_REQUEST);
    await pause(20);
    Atomics.store(gate, 0, 1);
    Atomics.notify(gate, 0);
    expect(await reply()).toEqual({ released: true });
    expect(await reply()).toEqual({ event: { event: 'QP_REQ_ERR', qpIndex } });
    expect(own).toEqual([]);
    await worker.terminate();
  });
});
