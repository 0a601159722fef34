// What a process uses of the machine, so that growth can be seen.
import { readdirSync } from 'node:fs';
import { liveObjects, type LiveObjects } from '../processes/live-objects.js';

export interface Usage {
  readonly rssBytes: number;
  /** JavaScript objects and buffers, after a garbage collection where Node allows one. */
  readonly heapBytes: number;
  readonly descriptors: number;
  readonly live: LiveObjects;
}

export function usage(): Usage {
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  return {
    rssBytes: rss,
    heapBytes: heapUsed + external,
    descriptors: readdirSync('/proc/self/fd').length,
    live: liveObjects(),
  };
}
