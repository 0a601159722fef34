// Which packet sequence numbers the sessions of a run had: no two live ones may share one.
import type { PsnPair } from './client-messages.js';

const keyOf = ({ localPsn, remotePsn }: PsnPair): string => `${localPsn}-${remotePsn}`;

/** Pairs are those of the clients: `localPsn` is the client's. */
export class PsnLedger {
  readonly #live = new Set<number>();
  readonly #clients = new Set<string>();
  readonly #server = new Set<string>();
  /** Sessions that clients have had. */
  sessions = 0;

  /** A client connected. Returns the numbers that a live session has already. */
  connected(pair: PsnPair): number[] {
    this.sessions += 1;
    this.#clients.add(keyOf(pair));
    const numbers = [pair.localPsn, pair.remotePsn];
    const taken = numbers.filter((number) => this.#live.has(number));
    for (const number of numbers) this.#live.add(number);
    return taken;
  }

  /** A client is about to leave, or is gone. */
  leaving(pair: PsnPair): void {
    this.#live.delete(pair.localPsn);
    this.#live.delete(pair.remotePsn);
  }

  /** The server says that a client connected. */
  atServer(pair: PsnPair): void {
    this.#server.add(keyOf(pair));
  }

  /** Pairs that no two sessions had; with a server that tells, those on which both sides agree. */
  unique(serverTells: boolean): number {
    const pairs = [...this.#clients];
    return pairs.filter((pair) => !serverTells || this.#server.has(pair)).length;
  }
}
