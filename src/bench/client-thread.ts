// A thread of a client process: its connections, its load, and the account of it.
import { parentPort, workerData } from 'node:worker_threads';
import { codeOf, messageOf } from '../errors.js';
import { connect, type ConnectOptions } from '../index.js';
import { acquireDevice, type DeviceLease } from '../rdma/device.js';
import { EffortMeter } from './effort.js';
import { openConnections, openPool, type Links } from './links.js';
import type { Command, FromThread, ThreadOrders } from './messages.js';
import { ThreadLoad } from './thread-load.js';
import { regionFor } from './workload.js';

/** Short enough for a stop at many errors, long enough to cost next to nothing. */
const reportEveryMs = 250;
const closeTimeoutMs = 1000;
const leastHandshakeTimeoutMs = 10_000;

const orders = workerData as ThreadOrders;
const { clientId, target, load } = orders;

function tell(message: FromThread): void {
  parentPort?.postMessage(message);
}

/** `suffix` tells a connection from the others of this thread. */
function optionsFor(suffix: string): ConnectOptions {
  const needed = regionFor(load.workload, load.bytes.max, load.depth);
  return {
    ...target,
    name: `bench-${clientId}${suffix}`,
    slots: Math.min(Math.max(load.depth, 16), 1024),
    ...(needed === 0 ? {} : { regionBytes: needed }),
    queueSize: Math.max(1000, load.depth),
    requestTimeoutMs: load.timeoutMs,
    handshakeTimeoutMs: Math.max(leastHandshakeTimeoutMs, load.timeoutMs),
    closeTimeoutMs,
  };
}

function openAll(): Promise<Links> {
  if (load.pool !== undefined) return openPool(optionsFor(''), load.pool, load.depth);
  return openConnections(load.connections, (index) =>
    connect(optionsFor(index === 0 ? '' : `.${index}`)),
  );
}

/**
 * A hold on the device of the connections, taken before theirs: while an open loop watches the
 * clock, its event loop has work, and would leave answers to notifications, which are slow.
 */
function holdDevice(): DeviceLease {
  return acquireDevice({ device: target.device, emptyPollsBeforeArm: 2 ** 32 - 1 });
}

async function play(links: Links, lease: DeviceLease): Promise<void> {
  const threadLoad = new ThreadLoad(orders, links.all, () => connect(optionsFor('.another')));
  await threadLoad.prepare();
  const go = new Promise<void>((resolve) => {
    parentPort?.on('message', ({ type }: Command) => {
      if (type === 'stop') threadLoad.stop();
      resolve();
    });
  });
  tell({ type: 'ready', clientId, device: links.device });
  await go;
  const effort = new EffortMeter(lease);
  const report = (): void => {
    tell({ type: 'interval', clientId, interval: threadLoad.meter.take() });
  };
  const reports = setInterval(report, reportEveryMs);
  await threadLoad.run();
  clearInterval(reports);
  report();
  const { unsent, lateShare, meter } = threadLoad;
  const effortMade = effort.read(lateShare);
  const lost = await links.lost();
  const end = { effort: effortMade, unfinished: meter.underWay, unsent, lost };
  tell({ type: 'done', clientId, end });
}

async function main(): Promise<void> {
  const lease = holdDevice();
  try {
    const links = await openAll();
    try {
      await play(links, lease);
    } finally {
      await links.close();
    }
  } finally {
    lease.release();
  }
}

try {
  await main();
} catch (error) {
  tell({ type: 'failed', clientId, code: codeOf(error), message: messageOf(error) });
}
parentPort?.close();
