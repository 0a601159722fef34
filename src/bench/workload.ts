// The operations that a load is made of, each on one connection, and their mix by weight.
import type { Connection, RequestOptions } from '../index.js';
import type { Link } from './links.js';

export const operationNames = [
  'echo',
  'send',
  'write',
  'read',
  'fetch-add',
  'compare-swap',
  'connect',
] as const;
export type OperationName = (typeof operationNames)[number];

/** Operations with the weight of each, as they were asked for. */
export interface Mix {
  readonly text: string;
  readonly shares: readonly { readonly operation: OperationName; readonly weight: number }[];
}

/** Asks a server, if it knows that, for an empty answer. */
export const discardMethod = 1;
const counterBytes = 8;
/** Those that a handler answers. */
export const requests: ReadonlySet<OperationName> = new Set(['echo', 'send']);
/** Those that move as many bytes as they are told to. */
export const payloads: ReadonlySet<OperationName> = new Set(['echo', 'send', 'write', 'read']);
/** Those that need memory at the server. */
export const oneSided: ReadonlySet<OperationName> = new Set([
  'write',
  'read',
  'fetch-add',
  'compare-swap',
]);

/** What came back is not what should have. */
export class Mismatch extends Error {
  readonly code = 'DATA_MISMATCH';
}

export interface LaneOptions {
  readonly maxBytes: number;
  readonly timeoutMs: number;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Makes a connection beside those of the load. */
  readonly openAnother: () => Promise<Connection>;
}

/** Where one operation at a time is under way: a link, and memory of its own at both ends. */
export class Lane {
  readonly #payload: Uint8Array;
  readonly #stamp: DataView;
  /** What the region of this lane holds. */
  readonly #kept: Buffer;
  readonly #dataOffset: number;
  readonly #counterOffset: number;
  #counter = 0n;
  #sequence = 0;

  constructor(
    readonly link: Link,
    index: number,
    private readonly options: LaneOptions,
  ) {
    const { maxBytes, random } = options;
    this.#payload = Uint8Array.from({ length: maxBytes }, () => random() * 256);
    this.#stamp = new DataView(this.#payload.buffer);
    this.#kept = Buffer.alloc(maxBytes);
    this.#counterOffset = index * regionPerLane(maxBytes);
    this.#dataOffset = this.#counterOffset + counterBytes;
  }

  /** Brings one operation about, and resolves with the bytes of payload that it moved. */
  async run(
    operation: OperationName,
    bytes: number,
    onPhases?: RequestOptions['onPhases'],
  ): Promise<number> {
    switch (operation) {
      case 'echo':
      case 'send':
        this.#answer = await this.link.request(this.#fresh(bytes), {
          method: operation === 'send' ? discardMethod : 0,
          timeoutMs: this.options.timeoutMs,
          onPhases,
        });
        return bytes;
      case 'write':
        await this.link.write(this.#dataOffset, this.#fresh(bytes));
        return bytes;
      case 'read':
        this.#answer = await this.link.read(this.#dataOffset, bytes);
        return bytes;
      case 'fetch-add':
        this.#found = await this.link.fetchAdd(this.#counterOffset, 1n);
        return counterBytes;
      case 'compare-swap':
        this.#found = await this.link.compareSwap(
          this.#counterOffset,
          this.#counter,
          this.#counter + 1n,
        );
        return counterBytes;
      case 'connect':
        this.#visit = await this.options.openAnother();
        return 0;
    }
  }

  #answer: Uint8Array = new Uint8Array(0);
  #found = 0n;
  #visit: Connection | undefined;

  /** Follows an operation that has succeeded; only to be checked is a write read back. */
  async conclude(operation: OperationName, bytes: number, verify: boolean): Promise<void> {
    const sent = this.#payload.subarray(0, bytes);
    if (operation === 'echo') {
      if (verify) expectSame(this.#answer, sent);
    } else if (operation === 'send') {
      if (verify) expectSame(this.#answer, nothing);
    } else if (operation === 'write') {
      if (!verify) return;
      this.#kept.set(sent);
      expectSame(await this.link.read(this.#dataOffset, bytes), sent);
    } else if (operation === 'read') {
      if (verify) expectSame(this.#answer, this.#kept.subarray(0, bytes));
    } else if (operation === 'connect') {
      await this.#visit?.close();
    } else {
      const expected = this.#counter;
      this.#counter += 1n;
      if (verify && this.#found !== expected) {
        throw new Mismatch(`the counter was ${this.#found}, not ${expected}`);
      }
    }
  }

  /** Fills the region of this lane, so that a read has something to find. */
  async prepare(): Promise<void> {
    this.#kept.set(this.#payload);
    await this.link.write(this.#dataOffset, this.#payload);
  }

  // No two payloads of a lane are alike, as far as they have room for a number.
  #fresh(bytes: number): Uint8Array {
    if (bytes >= 4) this.#stamp.setUint32(0, (this.#sequence += 1) >>> 0, true);
    return this.#payload.subarray(0, bytes);
  }
}

const nothing = new Uint8Array(0);

function expectSame(found: Uint8Array, wanted: Uint8Array): void {
  if (Buffer.compare(found, wanted) !== 0) {
    throw new Mismatch(
      `${found.length} bytes came back that are not the ${wanted.length} expected`,
    );
  }
}

/** Bytes of a region that a lane needs: a counter, and its data up to the next multiple of 8. */
function regionPerLane(maxBytes: number): number {
  return counterBytes + Math.ceil(maxBytes / counterBytes) * counterBytes;
}

/** Bytes of a region that a connection needs for a mix; 0 when it needs none. */
export function regionFor(mix: Mix, maxBytes: number, depth: number): number {
  const isOneSided = mix.shares.some(({ operation }) => oneSided.has(operation));
  return isOneSided ? regionPerLane(maxBytes) * depth : 0;
}

/** A source of operations in the proportions of a mix. */
export function drawFrom({ shares }: Mix, random: () => number): () => OperationName {
  const [first] = shares;
  const last = shares.at(-1)?.operation ?? 'echo';
  if (first === undefined || shares.length === 1) return () => last;
  const total = shares.reduce((sum, { weight }) => sum + weight, 0);
  return () => {
    let left = random() * total;
    for (const { operation, weight } of shares) {
      left -= weight;
      if (left < 0) return operation;
    }
    return last;
  };
}

/** Reads `echo`, or `echo=50,read=30,fetch-add=20`. Throws an Error that says what is wrong. */
export function parseMix(text: string): Mix {
  const shares = text.split(',').map((part) => {
    const [name = '', weightText = '1', ...rest] = part.trim().split('=');
    const operation = operationNames.find((known) => known === name);
    const weight = /^\d+(\.\d+)?$/.test(weightText) ? Number(weightText) : NaN;
    if (operation === undefined) {
      throw new Error(`there is no operation "${name}": choose from ${operationNames.join(', ')}`);
    }
    if (rest.length > 0 || !(weight > 0)) {
      throw new Error(`the weight of ${name} must be a number above 0, such as ${name}=50`);
    }
    return { operation, weight };
  });
  const names = new Set(shares.map(({ operation }) => operation));
  if (names.size < shares.length) throw new Error('an operation is named twice');
  return { text, shares };
}
