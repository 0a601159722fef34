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

/** An object and what was made from it: PD → CQ → QP, PD → MR. */
export interface ResourceNode extends ResourceRecord {
  readonly children: readonly ResourceNode[];
}

/** What one owner has open. */
export interface OwnerNode {
  readonly owner: string;
  /** Bytes registered by this owner. */
  readonly bytes: number;
  readonly objects: readonly ResourceNode[];
}

/** Whose child an object is, where its owner has one of that kind open. */
const parentKinds: Partial<Record<ResourceKind, readonly ResourceKind[]>> = {
  pollGroup: ['device'],
  cq: ['pd'],
  qp: ['cq', 'pd'],
  mr: ['pd'],
};

function nodesUnder(
  parent: ResourceKind | undefined,
  records: readonly ResourceRecord[],
): ResourceNode[] {
  const kinds = new Set(records.map(({ kind }) => kind));
  const parentOf = (kind: ResourceKind): ResourceKind | undefined =>
    parentKinds[kind]?.find((each) => kinds.has(each));
  return records
    .filter(({ kind }) => parentOf(kind) === parent)
    .map((record) => {
      // An owner has one protection domain and one of each queue; of several, the oldest counts.
      const isOldest = records.find(({ kind }) => kind === record.kind) === record;
      return { ...record, children: isOldest ? nodesUnder(record.kind, records) : [] };
    });
}

/** A native object; closing may throw. */
export interface Closable {
  close(): void;
}

interface Entry {
  readonly id: number;
  readonly kind: ResourceKind;
  readonly owner: string;
  readonly createdAtMs: number;
  readonly bytes: number;
  readonly object: Closable;
  closeError: string | undefined;
}

function recordOf(entry: Entry, now: number): ResourceRecord {
  const { id, kind, owner, createdAtMs, bytes, closeError } = entry;
  const record = { id, kind, owner, createdAtMs, ageMs: now - createdAtMs, bytes };
  return closeError === undefined ? record : { ...record, closeError };
}

/** Names a registered object; close it through the registry, never past it. */
export type ResourceHandle = number;

export class ResourceRegistry {
  readonly #entries = new Map<ResourceHandle, Entry>();
  readonly #byOwner = new Map<string, Set<Entry>>();
  readonly #counts = { qp: 0, cq: 0, mr: 0, pd: 0, pollGroup: 0, device: 0 };
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

  /** Notes an object that was just created. */
  add(kind: ResourceKind, owner: string, bytes: number, object: Closable): ResourceHandle {
    const id = this.#nextId++;
    const entry: Entry = {
      id,
      kind,
      owner,
      createdAtMs: Date.now(),
      bytes,
      object,
      closeError: undefined,
    };
    this.#entries.set(id, entry);
    const owned = this.#byOwner.get(owner);
    if (owned === undefined) this.#byOwner.set(owner, new Set([entry]));
    else owned.add(entry);
    this.#bytes += bytes;
    this.#counts[kind]++;
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
      entry.object.close();
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

  /** Kinds of what one owner has open, oldest first. */
  kindsOf(owner: string): ResourceKind[] {
    return [...(this.#byOwner.get(owner) ?? [])].map(({ kind }) => kind);
  }

  /** Owners of what is open. */
  owners(): string[] {
    return [...this.#byOwner.keys()];
  }

  /** Number of open objects of each kind. */
  counts(): Record<ResourceKind, number> {
    return { ...this.#counts };
  }

  /** Every open object, oldest first. */
  snapshot(): ResourceRecord[] {
    const now = Date.now();
    return [...this.#entries.values()].map((entry) => recordOf(entry, now));
  }

  /** What `snapshot` has of some owners (default: of all), by what was made from what. */
  tree(owners: readonly string[] = this.owners()): OwnerNode[] {
    const now = Date.now();
    return owners.map((owner) => {
      const records = [...(this.#byOwner.get(owner) ?? [])].map((entry) => recordOf(entry, now));
      const bytes = records.reduce((sum, record) => sum + record.bytes, 0);
      return { owner, bytes, objects: nodesUnder(undefined, records) };
    });
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.id);
    this.#bytes -= entry.bytes;
    this.#counts[entry.kind]--;
    const owned = this.#byOwner.get(entry.owner);
    owned?.delete(entry);
    if (owned?.size === 0) this.#byOwner.delete(entry.owner);
  }
}
