// A thread of a client process: its connections, its load, and the account of it.
import { parentPort, workerData } from 'node:worker_threads';
import { codeOf, messageOf } from '../errors.js';
import { connect, type Connection } from '../index.js';
import { acquireDevice, type DeviceLease } from '../rdma/device.js';
import { EffortMeter } from './effort.js';
import type { Command, FromThread, ThreadOrders } from './messages.js';
import { ThreadLoad } from './thread-load.js';
import { regionFor } from './workload.js';

/** Short enough for a stop at many errors, long enough to cost next to nothing. */
const reportEveryMs = 250;
const closeTimeoutMs = 1000;
const handshakeTimeoutMs = 10_000;

const orders = workerData as ThreadOrders;
const { clientId, target, load } = orders;

function tell(message: FromThread): void {
  parentPort?.postMessage(message);
}

/** `suffix` tells it from the others of this thread. */
function open(suffix: string): Promise<Connection> {
  const needed = regionFor(load.workload, load.bytes.max, load.depth);
  return connect({
    ...target,
    name: `bench-${clientId}${suffix}`,
    slots: Math.min(Math.max(load.depth, 16), 1024),
    ...(needed === 0 ? {} : { regionBytes: needed }),
    queueSize: Math.max(1000, load.depth),
    requestTimeoutMs: load.timeoutMs,
    handshakeTimeoutMs,
    closeTimeoutMs,
  });
}

async function openAll(): Promise<Connection[]> {
  const attempts = Array.from({ length: load.connections }, (_, index) =>
    open(index === 0 ? '' : `.${index}`),
  );
  const settled = await Promise.allSettled(attempts);
  const connections = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const failed = settled.find((each) => each.status === 'rejected');
  if (failed === undefined) return connections;
  await closeAll(connections);
  throw failed.reason;
}

async function closeAll(connections: readonly Connection[]): Promise<void> {
  await Promise.allSettled(connections.map((connection) => connection.close()));
}

/**
 * A hold on the device of the connections, taken before theirs: while an open loop watches the
 * clock, its event loop has work, and would leave answers to notifications, which are slow.
 */
function holdDevice(): DeviceLease {
  return acquireDevice({ device: target.device, emptyPollsBeforeArm: 2 ** 32 - 1 });
}

/** Resolves with the reason when the connection has ended. */
function endOf(connection: Connection): Promise<string> {
  return new Promise((resolve) => {
    connection.once('close', ({ message }) => resolve(message));
  });
}

async function play(connections: readonly Connection[], lease: DeviceLease): Promise<void> {
  const ends = connections.map(endOf);
  const threadLoad = new ThreadLoad(orders, connections, () => open('.another'));
  await threadLoad.prepare();
  const go = new Promise<void>((resolve) => {
    parentPort?.on('message', ({ type }: Command) => {
      if (type === 'stop') threadLoad.stop();
      resolve();
    });
  });
  tell({ type: 'ready', clientId, device: connections[0]?.device ?? target.device });
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
  const lost = await ends[connections.findIndex(({ isOpen }) => !isOpen)];
  const end = { effort: effortMade, unfinished: meter.underWay, unsent, lost };
  tell({ type: 'done', clientId, end });
}

async function main(): Promise<void> {
  const lease = holdDevice();
  try {
    const connections = await openAll();
    try {
      await play(connections, lease);
    } finally {
      await closeAll(connections);
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
