// Which worker a new session goes to: the strategies, behind one interface.
import { createHash } from 'node:crypto';

export const placementStrategies = ['round-robin', 'client-hash', 'least-loaded'] as const;
export type PlacementStrategy = (typeof placementStrategies)[number];

/** What a strategy may know of a worker that takes sessions. */
export interface WorkerLoad {
  /** Its number; a worker that replaces another has the same. */
  readonly index: number;
  /** Sessions placed on it that have not ended, those in their set-up included. */
  readonly sessions: number;
  /** Requests that it took and did not answer, as of now. */
  readonly requestsInWork: number;
  /** Share of the last second that its thread was busy, 0 to 1. */
  readonly busy: number;
}

export interface Placement {
  /**
   * One of `workers`, of which there is at least one, by ascending number. `client`: what names the
   * client.
   */
  choose(workers: readonly WorkerLoad[], client: string): WorkerLoad;
}

function firstOf(workers: readonly WorkerLoad[]): WorkerLoad {
  const [first] = workers as readonly [WorkerLoad, ...WorkerLoad[]];
  return first;
}

function best(workers: readonly WorkerLoad[], scoreOf: (worker: WorkerLoad) => number): WorkerLoad {
  let winner = firstOf(workers);
  let winnerScore = scoreOf(winner);
  for (const worker of workers.slice(1)) {
    const score = scoreOf(worker);
    if (score <= winnerScore) continue;
    winner = worker;
    winnerScore = score;
  }
  return winner;
}

/** Each in turn, whatever they do. */
class RoundRobin implements Placement {
  #last = -1;

  choose(workers: readonly WorkerLoad[]): WorkerLoad {
    const next = workers.find(({ index }) => index > this.#last) ?? firstOf(workers);
    this.#last = next.index;
    return next;
  }
}

/** 48 bits that look random, the same for the same client and worker. */
function weightOf(client: string, index: number): number {
  return createHash('sha256').update(`${index}\n${client}`).digest().readUIntBE(0, 6);
}

/**
 * The same client to the same worker. Rendezvous hashing: each client ranks all workers, and takes
 * the first of its ranking that there is. While one is being replaced, only its clients go
 * elsewhere, and they come back to it.
 */
class ClientHash implements Placement {
  choose(workers: readonly WorkerLoad[], client: string): WorkerLoad {
    return best(workers, ({ index }) => weightOf(client, index));
  }
}

function shareOf(value: number, total: number): number {
  return total === 0 ? 0 : value / total;
}

/** A thread without time is worse off than one with most of the sessions. */
const BUSY_WEIGHT = 2;

/**
 * The one with the least of three shares together: of all sessions, of all requests in work, and of
 * its own time. The first keeps a crowd that arrives at once from going to one worker, since it
 * changes with each; the others notice a session that does more than its neighbours.
 */
class LeastLoaded implements Placement {
  choose(workers: readonly WorkerLoad[]): WorkerLoad {
    const sessions = workers.reduce((sum, worker) => sum + worker.sessions, 0);
    const requests = workers.reduce((sum, worker) => sum + worker.requestsInWork, 0);
    return best(
      workers,
      (worker) =>
        -shareOf(worker.sessions, sessions) -
        shareOf(worker.requestsInWork, requests) -
        BUSY_WEIGHT * worker.busy,
    );
  }
}

const makers: Readonly<Record<PlacementStrategy, () => Placement>> = {
  'round-robin': () => new RoundRobin(),
  'client-hash': () => new ClientHash(),
  'least-loaded': () => new LeastLoaded(),
};

export function newPlacement(strategy: PlacementStrategy): Placement {
  return makers[strategy]();
}
