// Requests by id: a stale id reaches nobody, and every promise settles once.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VerbenaError } from '../../../src/errors.js';
import { RequestTable } from '../../../src/connection/request-table.js';

const failure = new VerbenaError('ERR_VERBENA_REQUEST_TIMEOUT', 'late');
const response = Uint8Array.of(1);

function add(table: RequestTable, deadline = 1000): { id: number; promise: Promise<Uint8Array> } {
  const id = table.add(deadline);
  const { promise } = table;
  if (promise === undefined) throw new Error('no promise');
  // Rejections are looked at later.
  promise.catch(() => undefined);
  return { id, promise };
}

describe('RequestTable', () => {
  it('resolves a request and forgets it', async () => {
    const table = new RequestTable(4);
    const { id, promise } = add(table);
    expect(table.isQueued(id)).toBe(true);
    table.markSent(id);
    expect(table.unanswered).toBe(1);
    expect(table.isAwaited(id)).toBe(true);
    table.markAnswered(id, false);
    table.resolve(id, response);
    await expect(promise).resolves.toBe(response);
    expect([table.used, table.unanswered, table.queued]).toEqual([0, 0, 0]);
    expect(table.isAwaited(id)).toBe(false);
  });

  it('never gives out an id twice in a row', () => {
    const table = new RequestTable(1);
    const first = add(table);
    table.reject(first.id, failure);
    const second = add(table);
    expect(second.id).not.toBe(first.id);
    expect(table.isQueued(first.id)).toBe(false);
    expect(table.isQueued(second.id)).toBe(true);
  });

  it('keeps the id of a request that timed out until the server has answered', async () => {
    const table = new RequestTable(1);
    const { id, promise } = add(table, 5);
    table.markSent(id);
    table.expire(5, (due) => table.reject(due, failure));
    await expect(promise).rejects.toBe(failure);
    expect(table.isFull).toBe(true);
    expect(table.isAwaited(id)).toBe(true);
    table.markAnswered(id, false);
    expect(table.used).toBe(0);
  });

  it('keeps the id while its payload is offered, and while its answer is pulled', () => {
    const table = new RequestTable(2);
    const offered = add(table).id;
    table.markSent(offered);
    table.setOffered(offered, true);
    table.markAnswered(offered, false);
    table.resolve(offered, response);
    expect(table.used).toBe(1);
    table.setOffered(offered, false);
    expect(table.used).toBe(0);
    const pulled = add(table).id;
    table.markSent(pulled);
    table.markAnswered(pulled, true);
    table.reject(pulled, failure);
    expect(table.used).toBe(1);
    table.markPulled(pulled);
    expect(table.used).toBe(0);
  });

  it('reports the earliest deadline that is left', () => {
    const table = new RequestTable(8);
    add(table, 30);
    const { id } = add(table, 10);
    add(table, 20);
    const due: number[] = [];
    const collect = (one: number): void => {
      due.push(one);
      table.reject(one, failure);
    };
    expect(table.expire(5, collect)).toBe(10);
    expect(due).toEqual([]);
    expect(table.expire(10, collect)).toBe(20);
    expect(due).toEqual([id]);
    expect(table.expire(100, collect)).toBe(Infinity);
    expect(table.used).toBe(0);
  });

  it('settles every promise once, in any order of events', async () => {
    const events = fc.array(
      fc.record({
        kind: fc.constantFrom('add', 'send', 'answer', 'offer', 'release', 'resolve', 'reject'),
        which: fc.nat(20),
      }),
      { maxLength: 120 },
    );
    await fc.assert(
      fc.asyncProperty(events, async (schedule) => {
        const table = new RequestTable(8);
        const known: { id: number; promise: Promise<Uint8Array>; settled: number }[] = [];
        for (const { kind, which } of schedule) {
          if (kind === 'add') {
            if (table.isFull) continue;
            const entry = { ...add(table), settled: 0 };
            const count = (): void => {
              entry.settled++;
            };
            entry.promise.then(count, count);
            known.push(entry);
            continue;
          }
          const id = known[which]?.id;
          if (id === undefined) continue;
          if (kind === 'send' && table.isQueued(id)) table.markSent(id);
          if (kind === 'offer' && table.isAwaited(id)) table.setOffered(id, true);
          if (kind === 'answer' && table.isAwaited(id)) table.markAnswered(id, false);
          if (kind === 'release') table.setOffered(id, false);
          if (kind === 'resolve') table.resolve(id, response);
          if (kind === 'reject') table.reject(id, failure);
        }
        table.rejectAll(failure);
        await Promise.allSettled(known.map(({ promise }) => promise));
        expect(known.every(({ settled }) => settled === 1)).toBe(true);
        expect(new Set(known.map(({ id }) => id)).size).toBe(known.length);
      }),
    );
  });
});
