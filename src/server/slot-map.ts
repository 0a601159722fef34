// The server's clients by id: slots with generations, so that a stale id never reaches the next
// client of its slot.

/** An id is generation × 2^16 + slot: 32 bits. */
const SLOT_BITS = 16;
const SLOT_MASK = 2 ** SLOT_BITS - 1;
const MAX_GENERATION = 0xffff;
export const MAX_SLOTS = 2 ** SLOT_BITS;

function nextGeneration(generation: number): number {
  return generation === MAX_GENERATION ? 1 : generation + 1;
}

export class SlotMap<T> {
  #capacity: number;
  readonly #values: (T | undefined)[] = [];
  readonly #generations: number[] = [];
  readonly #free: number[] = [];
  #size = 0;

  constructor(capacity: number) {
    this.#capacity = Math.min(capacity, MAX_SLOTS);
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** With fewer, those that are taken stay. */
  set capacity(value: number) {
    this.#capacity = Math.min(value, MAX_SLOTS);
  }

  get size(): number {
    return this.#size;
  }

  get isFull(): boolean {
    return this.#size >= this.#capacity;
  }

  /** Puts a value into a free slot and returns its id, or undefined when all are taken. */
  take(value: T): number | undefined {
    if (this.isFull) return undefined;
    const slot = this.#free.pop() ?? this.#values.length;
    // From 1 on, so that no id is 0.
    const generation = this.#generations[slot] ?? 1;
    this.#values[slot] = value;
    this.#generations[slot] = generation;
    this.#size++;
    return ((generation << SLOT_BITS) | slot) >>> 0;
  }

  /** The value of an id that is still taken. */
  get(id: number): T | undefined {
    const slot = id & SLOT_MASK;
    return this.#generations[slot] === id >>> SLOT_BITS ? this.#values[slot] : undefined;
  }

  /** Frees the slot; false when the id is stale. */
  free(id: number): boolean {
    if (this.get(id) === undefined) return false;
    const slot = id & SLOT_MASK;
    this.#values[slot] = undefined;
    this.#generations[slot] = nextGeneration(id >>> SLOT_BITS);
    this.#free.push(slot);
    this.#size--;
    return true;
  }

  *values(): Generator<T> {
    for (const value of this.#values) {
      if (value !== undefined) yield value;
    }
  }
}
