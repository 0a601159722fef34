// A client process as a scenario sees it: orders with answers, and an end that is certain.
import { ManagedProcess } from '../processes/managed-process.js';
import type {
  Farewell,
  FromClient,
  OrderName,
  Orders,
  PsnPair,
  Target,
  ToClient,
} from './client-messages.js';

/** What is heard of a client besides the answers to its orders. */
export interface ClientObserver {
  onConnected(client: Client, pair: PsnPair, device: string): void;
  onLeaving(client: Client, pair: PsnPair): void;
  onLost(client: Client, code: string, message: string): void;
  /** Its process ended, which nobody had asked for. */
  onDied(client: Client, how: string): void;
}

interface Call {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Client {
  readonly process: ManagedProcess<ToClient, FromClient>;
  /** Sessions that it has. */
  readonly sessions = new Set<PsnPair>();
  readonly #calls = new Map<number, Call>();
  readonly #observer: ClientObserver;
  #lastId = 0;
  #mayEnd = false;

  constructor(
    readonly name: string,
    target: Target,
    observer: ClientObserver,
  ) {
    this.#observer = observer;
    this.process = new ManagedProcess(
      new URL('client-process.js', import.meta.url),
      (message: FromClient) => this.#onMessage(message),
      { execArgv: ['--expose-gc'] },
    );
    void this.process.ended.then((how) => this.#onEnded(how));
    void this.call('start', { ...target, name }).catch(() => undefined);
  }

  /** Gives an order; rejects when it fails or the process ends first. */
  call<N extends OrderName>(name: N, args: Orders[N][0]): Promise<Orders[N][1]> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve: resolve, reject });
      this.process.send({ id, name, args } as ToClient);
    });
  }

  /** Kills the process, and resolves when it is gone. */
  async kill(): Promise<void> {
    this.#mayEnd = true;
    this.process.kill('SIGKILL');
    await this.process.ended;
  }

  /** Lets the client close everything, and resolves when its process has ended. */
  async leave(): Promise<Farewell> {
    this.#mayEnd = true;
    const farewell = await this.call('leave', undefined);
    await this.process.ended;
    return farewell;
  }

  /** Ends the process whatever it does. */
  async stop(): Promise<void> {
    this.#mayEnd = true;
    await this.process.stop();
  }

  #onMessage(message: FromClient): void {
    switch (message.type) {
      case 'done':
        this.#take(message.id)?.resolve(message.result);
        return;
      case 'failed':
        this.#take(message.id)?.reject(new Error(`${this.name}: ${message.message}`));
        return;
      case 'connected':
        this.#observer.onConnected(this, message, message.device);
        return;
      case 'leaving':
        this.#observer.onLeaving(this, message);
        return;
      case 'lost':
        this.#observer.onLost(this, message.code, message.message);
    }
  }

  #take(id: number): Call | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    return call;
  }

  #onEnded(how = 'ended'): void {
    const { output } = this.process;
    const said = output === '' ? '' : ` (its last words: ${output})`;
    const waiting = [...this.#calls.values()];
    this.#calls.clear();
    for (const { reject } of waiting) reject(new Error(`${this.name} ${how}${said}`));
    // Whoever waits for an answer reports the end.
    if (!this.#mayEnd && waiting.length === 0) this.#observer.onDied(this, how + said);
  }
}
