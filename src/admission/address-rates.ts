// How fast each address may connect, so that one cannot keep the set-up from others.
import { isIPv6 } from 'node:net';
import { TokenBucket } from './token-bucket.js';

/** Addresses remembered; those that have not come for a while are forgotten first. */
const MAX_ADDRESSES = 16_384;
const HOST_GROUPS = 4;

export type AddressVerdict =
  | { readonly verdict: 'welcome' }
  /** It is worth a TLS handshake to say why and when. */
  | { readonly verdict: 'tell'; readonly retryAfterMs: number }
  /** It has been told as often as it may connect: not even that. */
  | { readonly verdict: 'drop' };

const welcome: AddressVerdict = { verdict: 'welcome' };

interface Buckets {
  readonly connections: TokenBucket;
  readonly answers: TokenBucket;
}

/**
 * Who counts as one: an IPv4 address, or the first half of an IPv6 address, which one host has all
 * of.
 */
export function addressKey(address: string): string {
  const v4 = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (v4 !== null) return v4[1] as string;
  if (!isIPv6(address)) return address;
  const [head = '', tail] = (address.split('%')[0] as string).split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const first = groups(head);
  const last = groups(tail ?? '');
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  const all = [...first, ...Array.from({ length: zeros }, () => '0'), ...last];
  return all
    .slice(0, HOST_GROUPS)
    .map((group) => parseInt(group, 16).toString(16))
    .join(':');
}

/** Times are of `performance.now()`. */
export class AddressRates {
  readonly #buckets = new Map<string, Buckets>();
  #perSecond: number;

  /** `perSecond` connections of one address, as many at once; 0 for no limit. */
  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** Addresses that are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  set perSecond(value: number) {
    if (value === this.#perSecond) return;
    this.#perSecond = value;
    this.#buckets.clear();
  }

  judge(address: string, nowMs: number): AddressVerdict {
    if (this.#perSecond === 0) return welcome;
    const { connections, answers } = this.#bucketsOf(addressKey(address), nowMs);
    if (connections.take(nowMs)) return welcome;
    if (!answers.take(nowMs)) return { verdict: 'drop' };
    return { verdict: 'tell', retryAfterMs: connections.msUntilNext(nowMs) };
  }

  // In the order of their last connection, so that the first are those to forget.
  #bucketsOf(key: string, nowMs: number): Buckets {
    const rate = this.#perSecond;
    const known = this.#buckets.get(key);
    if (known === undefined) this.#forget(nowMs);
    else this.#buckets.delete(key);
    const buckets = known ?? {
      connections: new TokenBucket(rate, rate, nowMs),
      answers: new TokenBucket(rate, rate, nowMs),
    };
    this.#buckets.set(key, buckets);
    return buckets;
  }

  #forget(nowMs: number): void {
    for (const [key, { connections, answers }] of this.#buckets) {
      const isIdle = connections.isFull(nowMs) && answers.isFull(nowMs);
      if (!isIdle && this.#buckets.size < MAX_ADDRESSES) return;
      this.#buckets.delete(key);
    }
  }
}
