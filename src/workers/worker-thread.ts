// The program of a worker: its device, its poll group, the handler, and the data halves of the
// sessions that were placed on it.
import { parentPort, workerData } from 'node:worker_threads';
import { DurationHistogram } from '../connection/duration-histogram.js';
import { newTrafficStats } from '../connection/traffic-stats.js';
import type { VerbenaError } from '../errors.js';
import { loadAddon } from '../native/load.js';
import { acquireDevice, type DeviceLease } from '../rdma/device.js';
import { loadHandler } from './handler-module.js';
import type { SessionDataHost } from './local-session-data.js';
import type {
  FromWorker,
  SessionNews,
  ToWorker,
  WorkerAnswers,
  WorkerCall,
  WorkerOrders,
} from './messages.js';
import type { WorkerReport } from './report.js';
import type { Session } from './session.js';
import { packError, unpackVerbenaError, type PackedError } from './thrown.js';
import { WorkerGate } from './worker-gate.js';
import { WorkerSession } from './worker-session.js';

/** Handler errors passed on within a second; a main thread has more to do than to log. */
const MAX_HANDLER_ERRORS = 100;
const SECOND_MS = 1000;

if (parentPort === null) throw new Error('this is no program: a server starts it as its worker');
const port = parentPort;
const orders = workerData as WorkerOrders;

function tell(message: FromWorker): void {
  port.postMessage(message);
}

class ServingThread {
  readonly #lease: DeviceLease;
  readonly #host: SessionDataHost<Session>;
  readonly #gate: WorkerGate;
  readonly #sessions = new Map<number, WorkerSession>();
  #errorsToldSince = 0;
  #errorsTold = 0;

  constructor(lease: DeviceLease, handler: SessionDataHost<Session>['handler']) {
    const { ownerPrefix, options, senderChannelSize } = orders;
    const traffic = newTrafficStats();
    this.#lease = lease;
    this.#gate = new WorkerGate({
      senderChannelSize,
      traffic,
      live: new Int32Array(orders.live),
    });
    this.#gate.maxBytes = options.requestMemoryBytes;
    this.#host = {
      ownerPrefix,
      device: lease.device,
      port: lease.device.choosePort(orders.port),
      options,
      handler,
      traffic,
      requestDurations: new DurationHistogram(),
      requestStartDelays: new DurationHistogram(),
      gate: this.#gate,
    };
  }

  onMessage(message: ToWorker): void {
    if (message.type === 'giveUp') {
      this.#sessions.get(message.id)?.data.giveUp(unpackVerbenaError(message.reason));
      return;
    }
    if (message.type === 'options') {
      Object.assign(this.#host.options, message.options);
      this.#gate.maxBytes = message.options.requestMemoryBytes;
      return;
    }
    const { number, call } = message;
    this.#answer(call).then(
      (value) => tell({ type: 'answer', number, value }),
      (error: unknown) => tell({ type: 'refusal', number, error: packError(error) }),
    );
  }

  async #answer(call: WorkerCall): Promise<WorkerAnswers[WorkerCall['type']]> {
    switch (call.type) {
      case 'open':
        return this.#open(call);
      case 'quiesce':
        await this.#sessions
          .get(call.id)
          ?.data.quiesce(call.byPeer, unpackVerbenaError(call.reason));
        return undefined;
      case 'queuePairState':
        return this.#sessions.get(call.id)?.data.queuePairState();
      case 'close':
        return this.#close(call.id, unpackVerbenaError(call.reason));
      case 'report':
        return this.#report(call.withObjects);
      case 'stop':
        return this.#stop();
    }
  }

  #open({ order, identity }: WorkerCall & { type: 'open' }): Promise<WorkerAnswers['open']> {
    const session = new WorkerSession({
      host: this.#host,
      worker: orders.index,
      order,
      identity,
      tell: (news) => this.#tellOf(order.id, news),
      onHandlerError: (error) => this.#onHandlerError(order.id, error),
    });
    this.#sessions.set(order.id, session);
    return session.open();
  }

  async #close(id: number, reason: VerbenaError): Promise<WorkerAnswers['close']> {
    const session = this.#sessions.get(id) as WorkerSession;
    const closed = await session.release(reason);
    this.#sessions.delete(id);
    return closed;
  }

  #tellOf(id: number, news: SessionNews): void {
    tell({ type: 'session', id, news });
  }

  #onHandlerError(id: number, error: unknown): void {
    const now = performance.now();
    if (now - this.#errorsToldSince >= SECOND_MS) {
      this.#errorsToldSince = now;
      this.#errorsTold = 0;
    }
    if (this.#errorsTold++ >= MAX_HANDLER_ERRORS) return;
    this.#tellOf(id, { type: 'handlerError', error: packError(error) });
  }

  #report(withObjects: boolean): WorkerReport {
    const { device, traffic, requestDurations, requestStartDelays } = this.#host;
    const { registry, group } = device;
    return {
      counts: {
        traffic,
        requestDurations: requestDurations.durations(),
        requestStartDelays: requestStartDelays.durations(),
        requestQueue: this.#gate.stats(performance.now()),
        pollGroup: group.stats(),
        resources: registry.counts(),
        registeredBytes: registry.bytes,
        pool: device.poolStats(),
      },
      sessions: [...this.#sessions].map(([id, { figures }]) => [id, figures]),
      objects: withObjects ? { resources: registry.snapshot(), tree: registry.tree() } : undefined,
    };
  }

  // The main thread has closed every session before.
  #stop(): Promise<PackedError[]> {
    return Promise.resolve(this.#lease.release().map((failure) => packError(failure)));
  }
}

async function start(): Promise<ServingThread> {
  if (orders.processor !== undefined) loadAddon().setAffinity([orders.processor]);
  const handler = await loadHandler<Session>(orders.handler);
  return new ServingThread(acquireDevice(orders.device), handler);
}

try {
  const thread = await start();
  port.on('message', (message: ToWorker) => thread.onMessage(message));
  tell({ type: 'ready' });
} catch (error) {
  tell({ type: 'unusable', error: packError(error) });
}
