// A client process: starts its threads, and passes on what they are told and what they tell.
import { Worker } from 'node:worker_threads';
import { messageOf } from '../errors.js';
import { ParentLink } from '../processes/parent-link.js';
import type { Command, FromThread, StartOrders, ThreadOrders, ToClient } from './messages.js';

const workers: Worker[] = [];
let lastSent = Promise.resolve();

function tell(message: FromThread): void {
  lastSent = link.send(message);
}

/** Resolves when the thread has ended. */
function startThread(orders: ThreadOrders): Promise<void> {
  const worker = new Worker(new URL('client-thread.js', import.meta.url), { workerData: orders });
  workers.push(worker);
  worker.on('message', tell);
  worker.on('error', (error) => {
    const message = `thread ${orders.clientId} died: ${messageOf(error)}`;
    tell({ type: 'failed', clientId: orders.clientId, code: undefined, message });
  });
  return new Promise((resolve) => worker.once('exit', () => resolve()));
}

async function start({ softAddress, threads }: StartOrders): Promise<void> {
  // The device reads the environment of the process, of which threads have but a copy.
  if (softAddress !== undefined) process.env['VERBENA_SOFT_ADDR'] = softAddress;
  await Promise.all(threads.map(startThread));
  await lastSent;
  process.exit(0);
}

function pass(command: Command): void {
  for (const worker of workers) worker.postMessage(command);
}

const link = new ParentLink<ToClient, FromThread>((message) => {
  if (message.type === 'start') void start(message);
  else pass(message);
});
