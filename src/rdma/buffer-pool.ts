// Page-aligned slabs in size classes, zeroed again as far as whoever asks needs it.
import type { NativeAddon } from '../native/addon.js';

const PAGE_BYTES = 4096;
/**
 * Classes per doubling: a slab is at most an eighth larger than what was asked for, once past 32
 * KiB.
 */
const CLASSES_PER_DOUBLING = 8;

/** Where slabs come from, and whom they are left to. */
export type SlabSource = Pick<NativeAddon, 'allocateSlab' | 'leaveSlabToCollector'>;

/** Memory from `allocateSlab`, with the views that the data path needs. */
export interface Slab {
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export interface BufferPoolStats {
  /** Bytes lent out now. */
  readonly lentBytes: number;
  /** Bytes kept for the next user. */
  readonly freeBytes: number;
  readonly allocations: number;
  readonly reuses: number;
}

/**
 * Bytes of the slab that holds `bytes`: whole pages, and beyond 8 pages one of 8 steps per
 * doubling.
 */
export function slabBytesFor(bytes: number): number {
  const pages = Math.max(1, Math.ceil(bytes / PAGE_BYTES));
  if (pages <= CLASSES_PER_DOUBLING) return pages * PAGE_BYTES;
  const step = 2 ** Math.floor(Math.log2(pages - 1)) / CLASSES_PER_DOUBLING;
  return Math.ceil(pages / step) * step * PAGE_BYTES;
}

export class BufferPool {
  readonly #source: SlabSource;
  readonly #maxFreeBytes: number;
  readonly #free = new Map<number, Slab[]>();
  #lentBytes = 0;
  #freeBytes = 0;
  #allocations = 0;
  #reuses = 0;

  /** `maxFreeBytes`: slabs beyond this are given back to the system instead of being kept. */
  constructor(source: SlabSource, maxFreeBytes: number) {
    this.#source = source;
    this.#maxFreeBytes = maxFreeBytes;
  }

  /** A slab of at least `bytes`, so many of them zero; throws ERR_VERBENA_NO_MEMORY. */
  acquire(bytes: number): Slab {
    return this.#acquire(bytes, true);
  }

  /** The same with another's bytes in it, perhaps: for who writes all that anybody may read. */
  acquireUnzeroed(bytes: number): Slab {
    return this.#acquire(bytes, false);
  }

  #acquire(bytes: number, zeroed: boolean): Slab {
    const size = slabBytesFor(bytes);
    const kept = this.#free.get(size)?.pop();
    const slab = kept ?? this.#create(size, zeroed);
    if (kept !== undefined) {
      if (zeroed) slab.bytes.fill(0, 0, bytes);
      this.#freeBytes -= size;
      this.#reuses++;
    }
    this.#lentBytes += size;
    return slab;
  }

  /** Takes a slab back. Only after its memory region is gone: nobody may still write to it. */
  release(slab: Slab): void {
    const size = slab.bytes.length;
    if (this.#freeBytes + size > this.#maxFreeBytes) {
      this.surrender(slab);
      return;
    }
    this.#lentBytes -= size;
    const kept = this.#free.get(size);
    if (kept === undefined) this.#free.set(size, [slab]);
    else kept.push(slab);
    this.#freeBytes += size;
  }

  /** Lets go of a slab that now belongs to the user; the garbage collector unmaps it. */
  surrender(slab: Slab): void {
    this.#lentBytes -= slab.bytes.length;
    this.#source.leaveSlabToCollector(slab.buffer);
  }

  stats(): BufferPoolStats {
    return {
      lentBytes: this.#lentBytes,
      freeBytes: this.#freeBytes,
      allocations: this.#allocations,
      reuses: this.#reuses,
    };
  }

  #create(size: number, zeroed: boolean): Slab {
    const buffer = this.#source.allocateSlab(size, zeroed);
    this.#allocations++;
    return { buffer, bytes: new Uint8Array(buffer), view: new DataView(buffer) };
  }
}
