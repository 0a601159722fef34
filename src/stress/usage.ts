// What a process uses of the machine, so that growth can be seen.
import { readdirSync } from 'node:fs';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import v8 from 'node:v8';
import { liveObjects, type LiveObjects } from '../processes/live-objects.js';

/** How long sockets may take to close after their connections. */
const socketsCloseMs = 1000;

export interface Usage {
  readonly rssBytes: number;
  /**
   * JavaScript objects and buffers, after garbage collection where Node allows it. Without compiled
   * code, of which V8 makes more for an hour where little happens.
   */
  readonly heapBytes: number;
  readonly descriptors: number;
  readonly live: LiveObjects;
}

/** A collection of garbage, and the turn of the loop that frees the native memory behind it. */
async function collect(): Promise<void> {
  for (let round = 0; round < 2; round += 1) {
    globalThis.gc?.();
    await turn();
  }
}

/** Waits for the sockets to close whose connections have ended; the kernel tells nobody when. */
async function socketsClosed(): Promise<void> {
  const end = performance.now() + socketsCloseMs;
  const isOpen = (): boolean =>
    process.getActiveResourcesInfo().some((name) => /^(TLSWrap|TCPSocketWrap)$/.test(name));
  while (isOpen() && performance.now() < end) await sleep(5);
}

/** What this process uses now, after its garbage is collected. */
export async function usageNow(): Promise<Usage> {
  await collect();
  const { rss, heapUsed, external } = process.memoryUsage();
  const code = v8.getHeapCodeStatistics();
  const codeBytes = code.code_and_metadata_size + code.bytecode_and_metadata_size;
  return {
    rssBytes: rss,
    heapBytes: heapUsed - codeBytes + external,
    descriptors: readdirSync('/proc/self/fd').length,
    live: liveObjects(),
  };
}

/** What this process uses at rest: without connections. */
export async function usageAtRest(): Promise<Usage> {
  await socketsClosed();
  return usageNow();
}
