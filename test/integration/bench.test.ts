// `verbena bench` on whatever device there is: every operation, every answer compared.
import { describe, expect, it } from 'vitest';
import serveHandler from '../../src/cli/serve-handler.js';
import { benchRuns } from '../helpers/bench-run.js';
import { startServer } from '../helpers/verbena.js';

const { measure } = benchRuns();

describe('totals', () => {
  it('hold for a mix whose every answer is compared', async () => {
    await using server = await startServer({ handler: serveHandler });
    const args = '--workload echo=3,send=2,write=2,read=2,fetch-add=1,compare-swap=1 --verify';
    const more = '--bytes 1..128 --depth 8 --connections 2 --duration 0.3 --clones 2';
    const result = await measure(server, ...args.split(' '), ...more.split(' '));
    expect(result).toMatchObject({ clients: 1, threads: 2 });
    const { operations, bytesPerSecond, operationsPerSecond } = result;
    expect(server.stats().traffic.responses).toBeGreaterThan(0);
    expect(server.stats().traffic.responses).toBeLessThan(operations);
    expect(bytesPerSecond / operationsPerSecond).toBeLessThan(128);
  });

  it('are the connections that came and went, when the load is connecting', async () => {
    await using server = await startServer();
    const { perThread } = await measure(
      server,
      ...['--workload', 'connect', '--count', '30', '--clones', '2', '--depth', '2'],
    );
    expect(perThread.map(({ operations }) => operations)).toEqual([15, 15]);
    expect(server.stats().accepted).toBe(2 + 30);
    await expect.poll(() => server.sessions()).toEqual([]);
  });
});
