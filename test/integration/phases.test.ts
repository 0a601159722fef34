// Where the time of a request goes, as a user of the library asks for it.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { RequestPhases } from '../../src/index.js';
import { codeOfRejection, connectTo, expectNothingLeft, startServer } from '../helpers/verbena.js';

afterEach(() => expectNothingLeft());

describe('onPhases', () => {
  it.each([0, 64, 4144, 4145, 100_000])('tells of a request of %i bytes', async (bytes) => {
    await using server = await startServer();
    await using client = await connectTo(server);
    const told: RequestPhases[] = [];
    const startedMs = performance.now();
    const onPhases = (phases: RequestPhases): void => void told.push(phases);
    await client.request(new Uint8Array(bytes), { onPhases });
    const elapsedMs = performance.now() - startedMs;
    expect(told).toHaveLength(1);
    const parts = Object.values(told[0] ?? {}) as number[];
    expect(parts).toHaveLength(5);
    for (const ms of parts) expect(ms).toBeGreaterThanOrEqual(0);
    const sum = parts.reduce((total, ms) => total + ms, 0);
    expect(sum).toBeGreaterThan(0);
    expect(sum).toBeLessThanOrEqual(elapsedMs);
  });

  it('tells of each of many that wait for their turn, and how long', async () => {
    const waitMs = 50;
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    await using server = await startServer({
      maxRequestsPerConnection: 2,
      handler: () => released,
    });
    await using client = await connectTo(server);
    const told: RequestPhases[] = [];
    const onPhases = (phases: RequestPhases): void => void told.push(phases);
    const requests = Array.from({ length: 40 }, () =>
      client.request(new Uint8Array(5000), { onPhases }),
    );
    const askedMs = performance.now();
    await sleep(waitMs);
    const waitedMs = performance.now() - askedMs;
    release();
    await Promise.all(requests);
    expect(told).toHaveLength(40);
    for (const { clientQueueMs } of told.slice(2)) {
      expect(clientQueueMs).toBeGreaterThanOrEqual(waitedMs);
    }
  });

  it('has the time that the handler took', async () => {
    let tookMs = 0;
    await using server = await startServer({
      handler: ({ payload }) => {
        const startedMs = performance.now();
        while (performance.now() < startedMs + 20);
        tookMs = performance.now() - startedMs;
        return payload;
      },
    });
    await using client = await connectTo(server);
    let handlerMs = 0;
    await client.request(new Uint8Array(8), { onPhases: (phases) => ({ handlerMs } = phases) });
    expect(handlerMs).toBeGreaterThan(tookMs - 0.0001);
  });

  it('tells nothing of a request that fails', async () => {
    const handler = (): never => {
      throw new Error('always');
    };
    await using server = await startServer({ handler });
    server.on('requestError', () => undefined);
    await using client = await connectTo(server);
    let calls = 0;
    const onPhases = (): void => void (calls += 1);
    const failed = client.request(new Uint8Array(1), { onPhases });
    expect(await codeOfRejection(failed)).toBe('ERR_VERBENA_HANDLER');
    expect(calls).toBe(0);
  });
});
