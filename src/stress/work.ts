// The work of one client: requests, its region and a counter, each byte and number checked.
import { randomBytes } from 'node:crypto';
import type { Connection } from '../index.js';

const counterBytes = 8;
const regionPatternBytes = 4096;
const maxIncrements = 100;
const progressEvery = 50;
/** What the region must hold for all of the work. */
export const workRegionBytes = counterBytes + regionPatternBytes;

export interface WorkOrders {
  /** Echo requests to make, besides the large one, and increments, 100 at most. */
  readonly requests: number;
  /** Length of the payload that goes both ways at the end. */
  readonly largeBytes: number;
}

export class Work {
  requests = 0;
  bytesVerified = 0;
  #counted = 0n;

  constructor(
    private readonly connection: Connection,
    private readonly report: (work: Work) => void = () => undefined,
    /** Takes the time of each small request. */
    private readonly onLatencyUs: (us: number) => void = () => undefined,
  ) {}

  /** Everything, once. */
  async all({ requests, largeBytes }: WorkOrders): Promise<void> {
    await this.echoes(requests);
    await this.region();
    await this.counter(Math.min(requests, maxIncrements));
    await this.echo(largeBytes);
    this.report(this);
  }

  /** One request of so many bytes; less where the server takes less. */
  async echo(bytes: number): Promise<void> {
    const payload = randomBytes(Math.min(bytes, this.connection.maxPayloadBytes));
    this.#expectEqual(payload, await this.connection.request(payload), 'an echo');
    this.requests += 1;
  }

  /** Requests of 16 bytes to 4 KiB, one after the other: the latency counts. */
  async echoes(count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      const started = performance.now();
      await this.echo(16 << (index % 9));
      this.onLatencyUs((performance.now() - started) * 1000);
      if (this.requests % progressEvery === 1) this.report(this);
    }
  }

  /** Writes to the region and reads it back. */
  async region(): Promise<void> {
    if (!this.#hasRegion()) return;
    const pattern = randomBytes(regionPatternBytes);
    await this.connection.write(counterBytes, pattern);
    const found = await this.connection.read(counterBytes, pattern.length);
    this.#expectEqual(pattern, found, 'the region');
  }

  /** Each increment must find the one before it; the sum is read back. */
  async counter(increments: number): Promise<void> {
    if (!this.#hasRegion()) return;
    for (let index = 0; index < increments; index += 1) {
      const before = await this.connection.fetchAdd(0, 1n);
      if (before !== this.#counted) {
        throw new Error(`the counter was ${before}, not ${this.#counted}`);
      }
      this.#counted += 1n;
    }
    const bytes = await this.connection.read(0, counterBytes);
    const sum = Buffer.from(bytes).readBigUInt64LE();
    if (sum !== this.#counted) throw new Error(`the counter ended at ${sum}`);
    this.bytesVerified += counterBytes;
  }

  /** A server may lend no memory. */
  #hasRegion(): boolean {
    return this.connection.regionLength >= workRegionBytes;
  }

  #expectEqual(sent: Uint8Array, found: Uint8Array, what: string): void {
    if (!Buffer.from(found).equals(sent)) throw new Error(`${what} came back changed`);
    this.bytesVerified += sent.length;
  }
}
