// A client process of the demo: connects, works, checks every byte and counter, and leaves.
import { randomBytes } from 'node:crypto';
import { messageOf } from '../../errors.js';
import { connect, type Connection } from '../../index.js';
import { loadAddon } from '../../native/load.js';
import { ParentLink } from './child.js';
import type { ClientOrders, FromClient, LiveObjects, ToClient } from './messages.js';

const counterBytes = 8;
const regionPatternBytes = 4096;
const increments = 100;
const progressEvery = 50;

function liveObjects(): LiveObjects {
  const { pd, cq, qp, mr } = loadAddon().liveObjects();
  return { pd, cq, qp, mr };
}

/** The work of one client, and its account. */
class Work {
  readonly latenciesUs: number[] = [];
  requests = 0;
  bytesVerified = 0;

  constructor(
    private readonly connection: Connection,
    private readonly orders: ClientOrders,
    private readonly report: (work: Work) => void,
  ) {}

  async run(): Promise<void> {
    await this.#echoes();
    await this.#region();
    await this.#counter();
    await this.#echo(randomBytes(this.orders.largeBytes));
    this.report(this);
  }

  async #echo(payload: Uint8Array): Promise<void> {
    this.#expectEqual(payload, await this.connection.request(payload), 'an echo');
    this.requests += 1;
  }

  /** Requests of 16 bytes to 4 KiB, one after the other: the latency counts. */
  async #echoes(): Promise<void> {
    for (let index = 0; index < this.orders.requests; index += 1) {
      const payload = randomBytes(16 << (index % 9));
      const started = performance.now();
      await this.#echo(payload);
      this.latenciesUs.push((performance.now() - started) * 1000);
      if (this.requests % progressEvery === 1) this.report(this);
    }
  }

  async #region(): Promise<void> {
    const pattern = randomBytes(regionPatternBytes);
    await this.connection.write(counterBytes, pattern);
    const found = await this.connection.read(counterBytes, pattern.length);
    this.#expectEqual(pattern, found, 'the region');
  }

  /** Each increment must find the one before it; the sum is read back. */
  async #counter(): Promise<void> {
    for (let expected = 0n; expected < increments; expected += 1n) {
      const before = await this.connection.fetchAdd(0, 1n);
      if (before !== expected) throw new Error(`the counter was ${before}, not ${expected}`);
    }
    const bytes = await this.connection.read(0, counterBytes);
    const sum = Buffer.from(bytes).readBigUInt64LE();
    if (sum !== BigInt(increments)) throw new Error(`the counter ended at ${sum}`);
    this.bytesVerified += counterBytes;
  }

  #expectEqual(sent: Uint8Array, found: Uint8Array, what: string): void {
    if (!Buffer.from(found).equals(sent)) throw new Error(`${what} came back changed`);
    this.bytesVerified += sent.length;
  }
}

const link = new ParentLink<ToClient, FromClient>(({ orders }) => {
  void main(orders).then(
    () => process.exit(0),
    async (error: unknown) => {
      await link.send({ type: 'failed', message: messageOf(error), live: liveObjects() });
      process.exit(1);
    },
  );
});

async function main(orders: ClientOrders): Promise<void> {
  const connection = await connect({
    device: 'soft',
    host: '127.0.0.1',
    port: orders.port,
    ca: orders.ca,
    name: orders.name,
    maxPayloadBytes: orders.largeBytes,
    regionBytes: counterBytes + regionPatternBytes,
  });
  const work = new Work(connection, orders, ({ requests, bytesVerified }) => {
    void link.send({ type: 'progress', requests, bytesVerified });
  });
  try {
    const { localPsn, remotePsn } = connection;
    await link.send({ type: 'connected', localPsn, remotePsn });
    await work.run();
  } finally {
    await connection.close();
  }
  const { requests, bytesVerified, latenciesUs } = work;
  await link.send({ type: 'done', requests, bytesVerified, latenciesUs, live: liveObjects() });
}
