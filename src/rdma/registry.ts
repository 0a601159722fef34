// The table of every native object this thread has open: kind, owner, age and bytes, and the order
// of closing.
import { messageOf } from '../errors.js';

/** Kinds in the order in which they are closed: what depends on others goes first. */
export const resourceKinds = ['qp', 'cq', 'mr', 'pd', 'pollGroup', 'device'] as const;
export type ResourceKind = (typeof resourceKinds)[number];

const closingRank = Object.fromEntries(resourceKinds.map((kind, rank) => [kind, rank])) as Readonly<
  Record<ResourceKind, number>
>;

/** One native object as `snapshot()` reports it. */
export interface ResourceRecord {
  readonly id: number;
  readonly kind: ResourceKind;
  /** Who made it, such as `server/session-3`. */
  readonly owner: string;
  /** Milliseconds since the epoch. */
  readonly createdAtMs: number;
  readonly ageMs: number;
  /** Bytes registered (memory regions); 0 for other kinds. */
  readonly bytes: number;
  /** Why closing it failed, when that was tried. */
  readonly closeError?: string;
}

interface Entry {
  readonly id: number;
  readonly kind: ResourceKind;
  readonly owner: string;
  readonly createdAtMs: number;
  readonly bytes: number;
  readonly close: () => void;
  closeError: string | undefined;
}

/** Names a registered object; close it through the registry, never past it. */
export type ResourceHandle = number;

export class ResourceRegistry {
  readonly #entries = new Map<ResourceHandle, Entry>();
  readonly #byOwner = new Map<string, Set<Entry>>();
  #nextId = 1;
  #bytes = 0;

  /** Number of objects open. */
  get size(): number {
    return this.#entries.size;
  }

  /** Bytes registered with the device. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Notes an object that was just created; `close` must close it and may throw. */
  add(kind: ResourceKind, owner: string, bytes: number, close: () => void): ResourceHandle {
    const id = this.#nextId++;
    const entry: Entry = {
      id,
      kind,
      owner,
      createdAtMs: Date.now(),
      bytes,
      close,
      closeError: undefined,
    };
    this.#entries.set(id, entry);
    const owned = this.#byOwner.get(owner);
    if (owned === undefined) this.#byOwner.set(owner, new Set([entry]));
    else owned.add(entry);
    this.#bytes += bytes;
    return id;
  }

  /**
   * Closes one object; one that is closed already is left alone. When closing throws, the object
   * stays in the table with the reason, and the error is thrown on.
   */
  close(handle: ResourceHandle): void {
    const entry = this.#entries.get(handle);
    if (entry === undefined) return;
    try {
      entry.close();
    } catch (error) {
      entry.closeError = messageOf(error);
      throw error;
    }
    this.#forget(entry);
  }

  /**
   * Closes everything of one owner: queue pairs, completion queues, memory regions, protection
   * domains, newest first within a kind. Every step runs even when one fails; returns what failed.
   */
  closeOwner(owner: string): unknown[] {
    const owned = [...(this.#byOwner.get(owner) ?? [])].sort(
      (a, b) => closingRank[a.kind] - closingRank[b.kind] || b.id - a.id,
    );
    const failures: unknown[] = [];
    for (const entry of owned) {
      try {
        this.close(entry.id);
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }

  /** Number of open objects of each kind. */
  counts(): Record<ResourceKind, number> {
    const counts: Record<ResourceKind, number> = {
      qp: 0,
      cq: 0,
      mr: 0,
      pd: 0,
      pollGroup: 0,
      device: 0,
    };
    for (const entry of this.#entries.values()) counts[entry.kind]++;
    return counts;
  }

  /** Every open object, oldest first. */
  snapshot(): ResourceRecord[] {
    const now = Date.now();
    return [...this.#entries.values()].map((entry) => ({
      id: entry.id,
      kind: entry.kind,
      owner: entry.owner,
      createdAtMs: entry.createdAtMs,
      ageMs: now - entry.createdAtMs,
      bytes: entry.bytes,
      ...(entry.closeError === undefined ? {} : { closeError: entry.closeError }),
    }));
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.id);
    this.#bytes -= entry.bytes;
    const owned = this.#byOwner.get(entry.owner);
    owned?.delete(entry);
    if (owned?.size === 0) this.#byOwner.delete(entry.owner);
  }
}
