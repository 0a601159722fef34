// A client process: obeys orders with connections of its own, and checks every byte that it gets.
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, messageOf } from '../errors.js';
import { connect, type Connection, type ConnectOptions } from '../index.js';
import { liveObjects } from '../processes/live-objects.js';
import { ParentLink } from '../processes/parent-link.js';
import type {
  Connected,
  FromClient,
  LoopKind,
  OrderName,
  Orders,
  Refusal,
  ToClient,
} from './client-messages.js';
import { cutTls, stall, trespass, type Victim } from './misdeeds.js';
import { usageAtRest } from './usage.js';
import { Work, type WorkOrders } from './work.js';

const loops: Readonly<
  Record<LoopKind, { readonly lanes: number; readonly round: (work: Work) => Promise<void> }>
> = {
  everything: {
    lanes: 1,
    round: async (work) => {
      await work.echoes(9);
      await work.region();
      await work.counter(10);
      await work.echo(64 * 1024);
    },
  },
  requesting: { lanes: 8, round: (work) => work.echoes(9) },
  reading: { lanes: 4, round: (work) => work.echo(1024 * 1024) },
  writing: { lanes: 1, round: (work) => work.region() },
};

type Handlers = { [N in OrderName]: (args: Orders[N][0]) => Orders[N][1] | Promise<Orders[N][1]> };

class StressClient implements Handlers {
  #options!: ConnectOptions;
  readonly #open = new Map<Connection, Work>();
  #requests = 0;
  #bytesVerified = 0;
  #stopped = false;
  #loops: Promise<void>[] = [];
  #victim: Victim | undefined;
  #onLost: (code: string) => void = () => undefined;
  readonly #lost = new Promise<string>((resolve) => (this.#onLost = resolve));

  constructor(private readonly tell: (message: FromClient) => void) {}

  start(options: Orders['start'][0]): void {
    this.#options = options;
  }

  async connect({ count }: { readonly count: number }): Promise<Connected> {
    const setupMs: number[] = [];
    const refusals: Refusal[] = [];
    const attempts = Array.from({ length: count }, async () => {
      const started = performance.now();
      try {
        await this.#connect();
        setupMs.push(performance.now() - started);
      } catch (error) {
        refusals.push({ code: codeOf(error) ?? 'none', message: messageOf(error) });
      }
    });
    await Promise.all(attempts);
    return { setupMs, refusals };
  }

  async work(orders: WorkOrders): Promise<void> {
    await Promise.all([...this.#open.values()].map((work) => work.all(orders)));
  }

  loop({ kind, restMs }: Orders['loop'][0]): void {
    const { lanes, round } = loops[kind];
    const run = async (work: Work): Promise<void> => {
      while (!this.#stopped) {
        await round(work);
        if (restMs > 0) await sleep(restMs);
      }
    };
    for (const work of this.#open.values()) {
      for (let lane = 0; lane < lanes; lane += 1) this.#loops.push(run(work));
    }
    // Looked at when the loops are stopped.
    for (const each of this.#loops) each.catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async close({ count }: { readonly count: number }): Promise<void> {
    await Promise.all([...this.#open.keys()].slice(0, count).map((each) => this.#close(each)));
  }

  async cycle({ count, forMs, ...orders }: Orders['cycle'][0]): Promise<void> {
    const end = performance.now() + forMs;
    for (let done = 0; done < count && performance.now() < end; done += 1) {
      const [connection, work] = await this.#connect();
      await work.all(orders);
      await this.#close(connection);
    }
  }

  usage(): Promise<Orders['usage'][1]> {
    return usageAtRest();
  }

  stall({ stage }: Orders['stall'][0]): Promise<void> {
    return stall(this.#options, stage);
  }

  async cut(): Promise<void> {
    this.#victim = await cutTls(this.#options);
    this.#tellConnected(this.#victim.connection);
  }

  async trespass(): Promise<void> {
    this.#victim = await trespass(this.#options);
    this.#tellConnected(this.#victim.connection);
  }

  outcome(): Promise<string> {
    return this.#victim?.outcome ?? this.#lost;
  }

  async leave(): Promise<Orders['leave'][1]> {
    const failure = await this.close({ count: this.#open.size }).then(() => undefined, messageOf);
    const requests = this.#requests;
    return { failure, requests, bytesVerified: this.#bytesVerified, live: liveObjects() };
  }

  async #connect(): Promise<readonly [Connection, Work]> {
    const connection = await connect(this.#options);
    const work = new Work(connection);
    this.#open.set(connection, work);
    this.#tellConnected(connection);
    connection.once('close', ({ code, message }) => {
      this.#open.delete(connection);
      this.#requests += work.requests;
      this.#bytesVerified += work.bytesVerified;
      if (code === 'ERR_VERBENA_CONNECTION_CLOSED') return;
      this.#onLost(code);
      this.tell({ type: 'lost', code, message });
    });
    return [connection, work];
  }

  async #close(connection: Connection): Promise<void> {
    const { localPsn, remotePsn } = connection;
    this.tell({ type: 'leaving', localPsn, remotePsn });
    await connection.close();
  }

  #tellConnected({ device, localPsn, remotePsn }: Connection): void {
    this.tell({ type: 'connected', device, localPsn, remotePsn });
  }
}

const link = new ParentLink<ToClient, FromClient>((message) => void obey(message));
const client = new StressClient((message) => void link.send(message));

async function obey({ id, name, args }: ToClient): Promise<void> {
  try {
    const result = await (client[name] as (args: unknown) => unknown).call(client, args);
    await link.send({ type: 'done', id, result });
  } catch (error) {
    await link.send({ type: 'failed', id, message: messageOf(error) });
  }
  if (name === 'leave') process.exit(0);
}
