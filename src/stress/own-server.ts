// A server in a process of its own, as the one that started it sees it.
import { ManagedProcess, settlesWithin } from '../processes/managed-process.js';
import type { LiveObjects } from '../processes/live-objects.js';
import type { FromServer, ServerOrders, ServerUsage, ToServer } from './server-messages.js';

const listenTimeoutMs = 60_000;
const reportTimeoutMs = 30_000;

/** What the server's owner hears of it. */
export interface ServerObserver {
  onSessionStarted(name: string, localPsn: number, remotePsn: number): void;
  onSessionEnded(name: string, code: string): void;
  onRefused(code: string, message: string): void;
  /** The server, or its process, failed; one sentence. */
  onProblem(problem: string): void;
}

export class OwnServer {
  readonly process: ManagedProcess<ToServer, FromServer>;
  /** Known once the server listens. */
  device = 'none';
  port: number | undefined;
  /** What was still held after the last session, or after the server's end. */
  leaked: LiveObjects | undefined;
  readonly #observer: ServerObserver;
  #onListening: () => void = () => undefined;
  #onUsage: (usage: ServerUsage) => void = () => undefined;

  constructor(orders: ServerOrders, observer: ServerObserver) {
    this.#observer = observer;
    this.process = new ManagedProcess(
      new URL('server-process.js', import.meta.url),
      (message: FromServer) => this.#onMessage(message),
      { execArgv: ['--expose-gc'] },
    );
    this.process.send({ type: 'start', orders });
  }

  /** Resolves when the server listens, or cannot: `port` tells. */
  async started(): Promise<void> {
    const listening = new Promise<void>((resolve) => (this.#onListening = resolve));
    const settled = Promise.race([listening, this.process.ended]);
    if (await settlesWithin(settled, listenTimeoutMs)) return;
    this.#observer.onProblem(`the server did not listen within ${listenTimeoutMs / 1000} s`);
  }

  /** What the server uses now; rejects when its process ends instead of saying it. */
  async usage(): Promise<ServerUsage> {
    const told = new Promise<ServerUsage>((resolve) => (this.#onUsage = resolve));
    this.process.send({ type: 'usage' });
    const ended = this.process.ended.then(() => undefined);
    const usage = await Promise.race([told, ended]);
    if (usage === undefined) throw new Error('the server ended before it told what it uses');
    return usage;
  }

  /** Lets the sessions end, closes the server and waits for its report. */
  async finish(): Promise<void> {
    this.process.send({ type: 'finish' });
    if (!(await settlesWithin(this.process.ended, reportTimeoutMs))) {
      this.#observer.onProblem(`the server did not end within ${reportTimeoutMs / 1000} s`);
    }
    if (this.leaked === undefined) {
      this.#observer.onProblem('the server did not report what it still held');
    }
  }

  #onMessage(message: FromServer): void {
    switch (message.type) {
      case 'listening':
        this.device = message.device;
        this.port = message.port;
        this.#onListening();
        return;
      case 'sessionStarted':
        this.#observer.onSessionStarted(message.name, message.localPsn, message.remotePsn);
        return;
      case 'sessionEnded':
        this.#observer.onSessionEnded(message.name, message.code);
        return;
      case 'refused':
        this.#observer.onRefused(message.code, message.message);
        return;
      case 'usage':
        this.#onUsage(message.usage);
        return;
      case 'report':
        this.leaked = message.leaked;
        return;
      case 'failed':
        this.#observer.onProblem(`server: ${message.message}`);
    }
  }
}
