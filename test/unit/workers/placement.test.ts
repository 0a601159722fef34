// Placement of sessions: how each strategy spreads them, and what sticks.
import { describe, expect, it } from 'vitest';
import {
  newPlacement,
  placementStrategies,
  type WorkerLoad,
} from '../../../src/workers/placement.js';

function idle(count: number): WorkerLoad[] {
  return Array.from({ length: count }, (_, index) => ({
    index,
    sessions: 0,
    requestsInWork: 0,
    busy: 0,
  }));
}

const clients = (count: number): string[] =>
  Array.from({ length: count }, (_, number) => `client-${number}`);

describe.each(placementStrategies)('%s', (strategy) => {
  it('takes the only worker there is', () => {
    const placement = newPlacement(strategy);
    const only = idle(3).slice(1, 2);
    expect(placement.choose(only, 'a').index).toBe(1);
    expect(placement.choose(only, 'b').index).toBe(1);
  });

  it('spreads many clients over all workers', () => {
    const placement = newPlacement(strategy);
    const workers = idle(4);
    for (const client of clients(4000)) {
      const { index } = placement.choose(workers, client);
      const chosen = workers[index] as WorkerLoad;
      workers[index] = { ...chosen, sessions: chosen.sessions + 1 };
    }
    for (const { sessions } of workers) {
      expect(sessions).toBeGreaterThan(850);
      expect(sessions).toBeLessThan(1150);
    }
  });
});

describe('round-robin', () => {
  it('takes each in turn, and leaves out those that are not there', () => {
    const placement = newPlacement('round-robin');
    const workers = idle(3);
    const without = workers.filter(({ index }) => index !== 1);
    const turns = [workers, workers, workers, workers, without, workers, without, without];
    expect(turns.map((each) => placement.choose(each, 'x').index)).toEqual([
      0, 1, 2, 0, 2, 0, 2, 0,
    ]);
  });
});

describe('client-hash', () => {
  it('sends a client to the same worker, whoever came before and in whichever process', () => {
    const first = clients(500).map((client) => newPlacement('client-hash').choose(idle(5), client));
    const placement = newPlacement('client-hash');
    const again = clients(500)
      .reverse()
      .map((client) => placement.choose(idle(5), client))
      .reverse();
    expect(again).toEqual(first);
  });

  it('moves the clients of a worker that is gone only, and back when it is there again', () => {
    const placement = newPlacement('client-hash');
    const workers = idle(5);
    const homeOf = (client: string): number => placement.choose(workers, client).index;
    const without = workers.filter(({ index }) => index !== 2);
    const moved = clients(500).filter(
      (client) => placement.choose(without, client).index !== homeOf(client),
    );
    expect(moved).toEqual(clients(500).filter((client) => homeOf(client) === 2));
    expect(new Set(moved.map((client) => placement.choose(without, client).index)).size).toBe(4);
  });
});

describe('least-loaded', () => {
  const choose = (...loads: Partial<WorkerLoad>[]): number =>
    newPlacement('least-loaded').choose(
      idle(loads.length).map((worker, index) => ({ ...worker, ...loads[index] })),
      'x',
    ).index;

  it('counts sessions while nothing else tells workers apart', () => {
    expect(choose({ sessions: 3 }, { sessions: 2 }, { sessions: 4 })).toBe(1);
  });

  it('counts the requests in work, not the sessions alone', () => {
    expect(choose({ sessions: 1, requestsInWork: 40 }, { sessions: 2, requestsInWork: 0 })).toBe(1);
  });

  it('counts the time of the thread, as of a handler that does not let go of it', () => {
    const busy = { sessions: 1, requestsInWork: 1, busy: 1 };
    expect(choose(busy, { sessions: 10, requestsInWork: 2, busy: 0.1 })).toBe(1);
  });
});
