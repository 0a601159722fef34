// A worker thread with a queue pair of its own, connected to one of this thread.
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { NativeDevice, NativePollGroupStats } from '../../src/native/addon.js';
import { softLibraryPath } from '../../src/native/load.js';
import type { LoopbackEnd } from './loopback.js';

export interface EchoWorkerOptions {
  readonly spinUs?: number;
  /** The worker calls process.exit() in its completion callback when this many messages came. */
  readonly exitAfter?: number;
  /** It throws there instead. */
  readonly throwAfter?: number;
}

interface Reply {
  readonly qpn?: number;
  readonly stats?: NativePollGroupStats;
}

/** The built addon lies beside the soft device. */
export const addonPath = (): string => join(dirname(softLibraryPath()), 'verbena.node');

const script = new URL('../unit/native/fixtures/echo-worker.mjs', import.meta.url);

export class EchoWorker {
  readonly worker: Worker;

  private constructor(worker: Worker) {
    this.worker = worker;
  }

  /** Starts a worker whose queue pair is connected to `end`; both have their receives posted. */
  static async connect(
    device: NativeDevice,
    end: LoopbackEnd,
    options: EchoWorkerOptions = {},
  ): Promise<EchoWorker> {
    const worker = new Worker(script, {
      workerData: { ...options, addonPath: addonPath(), libraryPath: softLibraryPath() },
    });
    const echo = new EchoWorker(worker);
    const { qpn } = await echo.#reply();
    end.connect(device.gidTable(1)[0]?.gid ?? '', qpn ?? 0, 5, 5);
    worker.postMessage({ qpn: end.qp.qpn });
    await echo.#reply();
    return echo;
  }

  /** Lets the worker's loop run out with everything open; resolves with what its group counted. */
  async end(): Promise<NativePollGroupStats> {
    const exited = once(this.worker, 'exit');
    this.worker.postMessage({ end: true });
    const { stats } = await this.#reply();
    await exited;
    return stats as NativePollGroupStats;
  }

  async #reply(): Promise<Reply> {
    const [reply] = (await once(this.worker, 'message')) as [Reply];
    return reply;
  }
}
