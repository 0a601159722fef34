// Memory in the hands of a program: what it allocates, to have it transferred without a copy, and
// what it gives back before the garbage collector finds it.
import { VerbenaError, toVerbenaError } from '../errors.js';
import { loadAddon } from '../native/load.js';
import { slabBytesFor } from './buffer-pool.js';

/** Keeps nothing alive of the memory itself, so that this can be collected. */
export class Allocation {
  /** Transfers under way that use it. */
  uses = 0;
  /** How it is deregistered, by the queue pair that has it registered. */
  readonly deregister = new Map<object, () => void>();

  /** Deregisters it everywhere; throws when a region stays, which a later call tries again. */
  close(): void {
    for (const [owner, deregister] of this.deregister) {
      deregister();
      this.deregister.delete(owner);
    }
  }
}

/** A device's work says in 32 bits where in a region it starts. */
const MAX_ALLOCATION_BYTES = 2 ** 32;

const allocations = new WeakMap<ArrayBufferLike, Allocation>();
const collected = new FinalizationRegistry<Allocation>((allocation) => {
  try {
    allocation.close();
  } catch (error) {
    // Nobody is there to be told; the registry keeps it, and its queue pair's end reports it.
    process.emitWarning(error as Error);
  }
});

/**
 * Zeroed memory that a device can transfer from and to in place: what is written or asked from
 * there, or read into it, is not copied on the way, where it is too large for a message. At most
 * 4 GiB. Belongs to the thread that allocates it; the garbage collector frees it, `release` sooner.
 * Throws ERR_VERBENA_INVALID_OPTION, ERR_VERBENA_NO_MEMORY.
 */
export function allocate(bytes: number): Uint8Array {
  if (!Number.isInteger(bytes) || bytes < 1 || bytes > MAX_ALLOCATION_BYTES) {
    throw new VerbenaError(
      'ERR_VERBENA_INVALID_OPTION',
      `allocate wants a number of bytes from 1 to 2^32, not ${bytes}`,
    );
  }
  const buffer = allocateSlab(slabBytesFor(bytes));
  const allocation = new Allocation();
  allocations.set(buffer, allocation);
  collected.register(buffer, allocation, allocation);
  return new Uint8Array(buffer, 0, bytes);
}

function allocateSlab(bytes: number): ArrayBuffer {
  const addon = loadAddon();
  try {
    const buffer = addon.allocateSlab(bytes);
    addon.leaveSlabToCollector(buffer);
    return buffer;
  } catch (error) {
    throw toVerbenaError(error, 'ERR_VERBENA_NO_MEMORY');
  }
}

/** What `allocate` made, if it made the memory of these bytes. */
export function allocationOf(bytes: Uint8Array): Allocation | undefined {
  return allocations.get(bytes.buffer);
}

/**
 * Gives memory back that came from `allocate`, or that holds a large payload, response or read from
 * Verbena: at once, where the garbage collector would find it some time later. The array, and every
 * other over the same memory, is empty afterwards. What Node does with it by itself, to write it to
 * a socket or a file, must be finished. Returns false, and changes nothing, for any other array;
 * throws ERR_VERBENA_IN_USE while a device transfers it. What waits for its turn, and then finds
 * its memory gone, fails with ERR_VERBENA_INVALID_OPTION.
 */
export function release(bytes: Uint8Array): boolean {
  const { buffer } = bytes;
  const allocation = allocations.get(buffer);
  if (allocation === undefined) return loadAddon().giveBackSlab(buffer);
  if (allocation.uses > 0) {
    throw new VerbenaError(
      'ERR_VERBENA_IN_USE',
      `${allocation.uses} transfers use this memory; await them before it is released`,
    );
  }
  try {
    allocation.close();
  } catch (error) {
    throw toVerbenaError(error, 'ERR_VERBENA_VERBS');
  }
  collected.unregister(allocation);
  allocations.delete(buffer);
  return loadAddon().giveBackSlab(buffer);
}
