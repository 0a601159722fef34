// What the program, its client processes and their threads tell each other.
import type { SparseCounts } from './histogram.js';
import type { PhaseCounts } from './phases.js';
import type { BenchTarget, Load } from './plan.js';

/** What a thread is started with. */
export interface ThreadOrders {
  readonly clientId: number;
  readonly target: BenchTarget;
  /** Its own share. */
  readonly load: Load;
  /** Where its first planned operation lies between two, 0 to 1, so that threads alternate. */
  readonly phase: number;
}

export interface StartOrders {
  readonly type: 'start';
  readonly softAddress: string | undefined;
  readonly threads: readonly ThreadOrders[];
}

/** To the threads of a client: begin; finish what is under way and start nothing more. */
export type Command = { readonly type: 'go' } | { readonly type: 'stop' };

export type ToClient = StartOrders | Command;

/** What a thread did since it last said so. Warm-up is counted, but not measured. */
export interface Interval {
  /** Milliseconds of the system's monotonic clock, which all processes share. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly operations: number;
  readonly bytes: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly warmUpOperations: number;
  readonly warmUpErrors: number;
  readonly latencies: SparseCounts;
  /** When phases are asked for. */
  readonly phases?: PhaseCounts | undefined;
}

/** How a thread spent its time. */
export interface Effort {
  /** Share of the time in which its event loop did not rest. */
  readonly loopShare: number;
  /** Times that it had to watch for completions, for each time that it found some. */
  readonly idleSpins: number;
  /** Share of the time in which it wanted a core and had none. */
  readonly coreWaitShare: number;
  /** Share of the operations of an open loop that it began over 1 ms later than it could have. */
  readonly lateShare: number;
}

export interface ThreadEnd {
  readonly effort: Effort;
  /** Under way when the thread stopped waiting for them. */
  readonly unfinished: number;
  /** Planned by an open loop, and not begun when the time was over. */
  readonly unsent: number;
  /** Why a connection was lost. */
  readonly lost: string | undefined;
}

export type FromThread =
  | {
      readonly type: 'ready';
      readonly clientId: number;
      readonly device: string;
    }
  | {
      readonly type: 'failed';
      readonly clientId: number;
      readonly code: string | undefined;
      readonly message: string;
    }
  | { readonly type: 'interval'; readonly clientId: number; readonly interval: Interval }
  | { readonly type: 'done'; readonly clientId: number; readonly end: ThreadEnd };
