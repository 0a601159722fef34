// Lending client instances: one caller each, in the order in which they asked, never more than
// there are, nobody forgotten.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClientInstancePool, type PooledClient } from '../../../src/client/instance-pool.js';
import { codeOfRejection } from '../../helpers/verbena.js';

/** Nothing connects before the first request. */
const nowhere = { device: 'soft', host: '127.0.0.1', port: 1 };

function poolOf(clientInstancesPerPool: number): ClientInstancePool {
  return new ClientInstancePool({ ...nowhere, clientInstancesPerPool });
}

const sizes = (pool: ClientInstancePool): number[] => [pool.size, pool.available, pool.waiting];

type Step = 'acquire' | 'release' | 'abort';

/** Callers of a pool by number, and what became of each. */
class Callers {
  readonly pool: ClientInstancePool;
  readonly holding = new Map<number, PooledClient>();
  readonly waiting = new Map<number, AbortController>();
  readonly served: number[] = [];
  readonly #settled: Promise<void>[] = [];
  #asked = 0;

  constructor(instances: number) {
    this.pool = poolOf(instances);
  }

  acquire(): void {
    const caller = this.#asked++;
    const abort = new AbortController();
    this.waiting.set(caller, abort);
    const lent = this.pool.acquire({ signal: abort.signal }).then(
      (client) => {
        this.waiting.delete(caller);
        this.served.push(caller);
        this.holding.set(caller, client);
      },
      () => this.waiting.delete(caller),
    );
    this.#settled.push(lent.then(() => undefined));
  }

  release(): void {
    const [caller] = this.holding.keys();
    if (caller === undefined) return;
    this.holding.get(caller)?.release();
    this.holding.get(caller)?.release();
    this.holding.delete(caller);
  }

  /** The one in the middle gives up. */
  abort(): void {
    const callers = [...this.waiting.values()];
    callers[Math.floor(callers.length / 2)]?.abort();
  }

  async end(): Promise<void> {
    while (this.holding.size + this.waiting.size > 0) {
      this.release();
      await turn();
    }
    await Promise.all(this.#settled);
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a pool of client instances', () => {
  it('lends each to one caller, in the order of their calls, and forgets nobody', async () => {
    const schedule = fc.array(fc.constantFrom<Step>('acquire', 'acquire', 'release', 'abort'), {
      maxLength: 60,
    });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), schedule, async (instances, steps) => {
        const callers = new Callers(instances);
        for (const step of steps) {
          callers[step]();
          await turn();
          const { pool, holding, waiting } = callers;
          expect(sizes(pool)).toEqual([instances, instances - holding.size, waiting.size]);
          expect(pool.available === 0 || pool.waiting === 0).toBe(true);
        }
        await callers.end();
        expect(sizes(callers.pool)).toEqual([instances, instances, 0]);
        expect(callers.served).toEqual([...callers.served].sort((a, b) => a - b));
        await callers.pool.close();
      }),
    );
  });

  it('gives a wait up after its time, and the next in line is served', async () => {
    const pool = poolOf(1);
    const first = await pool.acquire();
    const late = codeOfRejection(pool.acquire({ timeoutMs: 5 }));
    const next = pool.acquire();
    expect(await late).toBe('ERR_VERBENA_ACQUIRE_TIMEOUT');
    expect(sizes(pool)).toEqual([1, 0, 1]);
    first.release();
    (await next).release();
    expect(sizes(pool)).toEqual([1, 1, 0]);
    await pool.close();
  });

  it('refuses those who wait and those who come once it is closed', async () => {
    const pool = poolOf(1);
    const held = await pool.acquire();
    const waiting = codeOfRejection(pool.acquire());
    const closed = pool.close();
    expect(await waiting).toBe('ERR_VERBENA_CLOSED');
    expect(await codeOfRejection(pool.acquire())).toBe('ERR_VERBENA_CLOSED');
    held.release();
    await closed;
    expect(pool.close()).toBe(pool.close());
  });

  it('takes nothing from a caller that gave its instance back', async () => {
    await using pool = poolOf(1);
    const lent = await pool.acquire();
    {
      using same = lent;
      expect(same.connections).toBe(0);
    }
    expect(await codeOfRejection(lent.request(new Uint8Array(1)))).toBe('ERR_VERBENA_CLOSED');
  });

  it.each([
    ['clientInstancesPerPool', 0],
    ['connectionsPerInstance', 1.5],
    ['requestsPerConnection', -1],
    ['idleTimeoutMs', 0],
    ['port', 70_000],
  ])('names the option %s when it is wrong', (name, value) => {
    const wrong = { ...nowhere, [name]: value };
    expect(() => new ClientInstancePool(wrong)).toThrow(
      expect.objectContaining({
        code: 'ERR_VERBENA_INVALID_OPTION',
        message: expect.stringContaining(name) as string,
      }),
    );
  });
});
