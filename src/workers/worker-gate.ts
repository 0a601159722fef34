// Which requests a worker takes; the main thread sees how many are in work without asking, and sets
// how many there may be without telling.
import { RequestGate, type RequestRefusal } from '../admission/request-gate.js';
import type { TrafficStats } from '../connection/traffic-stats.js';
import { LiveWord } from './messages.js';

export interface WorkerGateOptions {
  readonly senderChannelSize: number;
  readonly traffic: TrafficStats;
  /** See `LiveWord`. */
  readonly live: Int32Array;
}

export class WorkerGate extends RequestGate {
  readonly #options: WorkerGateOptions;

  constructor(options: WorkerGateOptions) {
    super(0, 'of all clients of a worker are pending (workerChannelSize)');
    this.#options = options;
  }

  override enter(own: number, nowMs: number): RequestRefusal | undefined {
    const { live, traffic, senderChannelSize } = this.#options;
    const { answersWaiting } = traffic;
    if (answersWaiting >= senderChannelSize) {
      const text = `${answersWaiting} answers of a worker wait to be sent (senderChannelSize)`;
      return this.refuse('answersWaiting', text, answersWaiting, nowMs);
    }
    this.queueSize = live[LiveWord.channelSize] as number;
    this.isShedding = live[LiveWord.isShedding] !== 0;
    const refusal = super.enter(own, nowMs);
    live[LiveWord.requestsInWork] = this.pending;
    return refusal;
  }

  override leave(own: number, nowMs: number): void {
    super.leave(own, nowMs);
    this.#options.live[LiveWord.requestsInWork] = this.pending;
  }
}
