// Whether a thread of the load generator had the time that it needed, or was the bottleneck itself.
import { readFileSync } from 'node:fs';
import { performance, type EventLoopUtilization } from 'node:perf_hooks';
import type { DeviceLease } from '../rdma/device.js';
import type { Effort } from './messages.js';

const busyLoopShare = 0.95;
const fewIdleSpins = 0.1;
const longCoreWaitShare = 0.1;
const manyLate = 0.01;

/** Nanoseconds that this thread has waited for a core; 0 where the kernel does not tell. */
function coreWaitNs(): number {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Measures what the calling thread does from its making on. */
export class EffortMeter {
  readonly #startedMs = performance.now();
  readonly #loop: EventLoopUtilization = performance.eventLoopUtilization();
  readonly #waitNs = coreWaitNs();
  readonly #polls;

  constructor(private readonly lease: DeviceLease) {
    this.#polls = lease.device.group.stats();
  }

  read(lateShare: number): Effort {
    const elapsedMs = performance.now() - this.#startedMs;
    const polls = this.lease.device.group.stats();
    const batches = polls.batches - this.#polls.batches;
    const spins = polls.spins - this.#polls.spins;
    return {
      loopShare: performance.eventLoopUtilization(this.#loop).utilization,
      idleSpins: batches === 0 ? 0 : spins / batches,
      coreWaitShare: (coreWaitNs() - this.#waitNs) / 1e6 / elapsedMs,
      lateShare,
    };
  }
}

const percent = (share: number): string => `${Math.round(share * 100)} %`;

/** Why the thread was the bottleneck, in words, or undefined when it was not. */
export function saturation(effort: Effort, isOpenLoop: boolean): string | undefined {
  const { loopShare, idleSpins, coreWaitShare, lateShare } = effort;
  if (lateShare > manyLate) {
    return `${percent(lateShare)} of its operations began over 1 ms late`;
  }
  if (coreWaitShare > longCoreWaitShare) {
    return `it waited for a core ${percent(coreWaitShare)} of the time`;
  }
  // An open loop watches the clock, so its event loop never rests.
  if (!isOpenLoop && loopShare > busyLoopShare && idleSpins < fewIdleSpins) {
    return `its event loop was busy ${percent(loopShare)} of the time`;
  }
  return undefined;
}
