// What a thread sends its operations over: connections of its own, or borrowers of a client pool.
import {
  ClientInstancePool,
  type ConnectOptions,
  type Connection,
  type PooledClient,
  type RequestOptions,
} from '../index.js';
import { messageOf } from '../errors.js';
import type { PoolShape } from './plan.js';

/** What an operation needs of that. */
export type Link = Pick<
  Connection,
  'isOpen' | 'regionLength' | 'request' | 'write' | 'read' | 'fetchAdd' | 'compareSwap'
>;

export interface Links {
  readonly all: readonly Link[];
  /** The device that they use. */
  readonly device: string;
  /** Resolves with why one of them is lost; to be asked when one is not open. */
  lost(): Promise<string | undefined>;
  close(): Promise<void>;
}

class OwnConnections implements Links {
  readonly #ends: readonly Promise<string>[];

  constructor(readonly all: readonly Connection[]) {
    this.#ends = all.map(
      (connection) =>
        new Promise((resolve) => connection.once('close', ({ message }) => resolve(message))),
    );
  }

  get device(): string {
    return this.all[0]?.device ?? '';
  }

  async lost(): Promise<string | undefined> {
    return this.#ends[this.all.findIndex(({ isOpen }) => !isOpen)];
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.all.map((connection) => connection.close()));
  }
}

/** Opens so many connections; when one cannot be had, none is left. */
export async function openConnections(
  count: number,
  open: (index: number) => Promise<Connection>,
): Promise<Links> {
  const attempts = Array.from({ length: count }, (_, index) => open(index));
  const settled = await Promise.allSettled(attempts);
  const connections = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const links = new OwnConnections(connections);
  const failed = settled.find((each) => each.status === 'rejected');
  if (failed === undefined) return links;
  await links.close();
  throw failed.reason;
}

/** An instance on loan to a borrower for a round of operations. */
class Round {
  readonly #client: Promise<PooledClient>;
  readonly #onOver: () => void;
  #left: number;
  #underWay = 0;

  constructor(client: Promise<PooledClient>, operations: number, onOver: () => void) {
    this.#client = client;
    this.#left = operations;
    this.#onOver = onOver;
  }

  get isTaken(): boolean {
    return this.#left === 0;
  }

  async request(payload: Uint8Array, options?: RequestOptions): Promise<Uint8Array> {
    this.#left -= 1;
    this.#underWay += 1;
    try {
      const client = await this.#client;
      return await client.request(payload, options);
    } finally {
      this.#underWay -= 1;
      if (this.#underWay === 0) await this.#end();
    }
  }

  async #end(): Promise<void> {
    // Who waits begins a round of its own, and asks the pool after all that asked before.
    const client = await this.#client.catch(() => undefined);
    client?.release();
    this.#onOver();
  }
}

function hasNoRegion(): Promise<never> {
  return Promise.reject(new Error('a borrowed instance has no region of its own'));
}

/** One of the threads that share a pool: borrows an instance for each round of its operations. */
export class Borrower implements Link {
  readonly regionLength = 0;
  readonly write = hasNoRegion;
  readonly read = hasNoRegion;
  readonly fetchAdd = hasNoRegion;
  readonly compareSwap = hasNoRegion;
  #round: Round | undefined;
  #roundOver: Promise<void> = Promise.resolve();

  constructor(
    private readonly pool: Pick<ClientInstancePool, 'acquire' | 'total'>,
    private readonly operationsPerRound: number,
    private readonly losses: string[],
  ) {}

  get isOpen(): boolean {
    return this.losses.length === 0;
  }

  async request(payload: Uint8Array, options?: RequestOptions): Promise<Uint8Array> {
    while (this.#round?.isTaken === true) await this.#roundOver;
    this.#round ??= this.#begin();
    try {
      return await this.#round.request(payload, options);
    } catch (error) {
      // A pool replaces what breaks; what it cannot replace is lost.
      if (this.pool.total === 0) this.losses.push(messageOf(error));
      throw error;
    }
  }

  #begin(): Round {
    let onOver: () => void = () => undefined;
    this.#roundOver = new Promise((resolve) => (onOver = resolve));
    return new Round(this.pool.acquire(), this.operationsPerRound, () => {
      this.#round = undefined;
      onOver();
    });
  }
}

class PooledLinks implements Links {
  readonly all: readonly Borrower[];
  readonly #losses: string[] = [];

  constructor(
    private readonly pool: ClientInstancePool,
    readonly device: string,
    { threadsPerPool, connectionsPerInstance }: PoolShape,
    depth: number,
  ) {
    this.all = Array.from(
      { length: threadsPerPool },
      () => new Borrower(pool, connectionsPerInstance * depth, this.#losses),
    );
  }

  lost(): Promise<string | undefined> {
    return Promise.resolve(this.#losses[0]);
  }

  close(): Promise<void> {
    return this.pool.close();
  }
}

/** Makes a pool and the threads that share it; one connection is opened to see that it can be. */
export async function openPool(
  options: ConnectOptions,
  shape: PoolShape,
  depth: number,
): Promise<Links> {
  const { clientInstancesPerPool, connectionsPerInstance } = shape;
  const pool = new ClientInstancePool({
    ...options,
    clientInstancesPerPool,
    connectionsPerInstance,
    requestsPerConnection: depth,
  });
  try {
    using client = await pool.acquire();
    const device = await client.run((connection) => Promise.resolve(connection.device));
    return new PooledLinks(pool, device, shape, depth);
  } catch (error) {
    await pool.close();
    throw error;
  }
}
