// A network that loses, doubles, reorders and damages packets: nothing of it reaches the user,
// until nothing arrives at all.
import { afterEach, describe, expect, it } from 'vitest';
import {
  connectTo,
  expectEqualBytes,
  expectNoSessionObjects,
  expectNothingLeft,
  pattern,
  startServer,
} from '../../helpers/verbena.js';

const FAULTS = 'VERBENA_SOFT_FAULTS';

// The soft device reads this when it is opened, and each test opens it anew.
function setFaults(faults: string): void {
  process.env[FAULTS] = faults;
}

afterEach(() => {
  Reflect.deleteProperty(process.env, FAULTS);
  expectNothingLeft();
});

describe('a network that loses everything', () => {
  it('makes connect fail in time, saying what to check', async () => {
    setFaults('drop=1,seed=1');
    const server = await startServer({ handshakeTimeoutMs: 700 });
    await expect(connectTo(server, { handshakeTimeoutMs: 600 })).rejects.toMatchObject({
      code: 'ERR_VERBENA_HANDSHAKE_TIMEOUT',
      message: expect.stringContaining('RDMA packets do not arrive') as string,
    });
    await expectNoSessionObjects(server);
    await server.close();
  });
});

describe.each([
  ['loses', 'drop=0.02,seed=11'],
  ['doubles and reorders', 'dup=0.1,reorder=0.1,seed=12'],
  ['damages', 'corrupt=0.02,seed=13'],
  ['does it all', 'drop=0.01,dup=0.02,reorder=0.05,corrupt=0.01,seed=14'],
])('a network that %s', (_, faults) => {
  it('delivers every request once and unchanged', async () => {
    setFaults(faults);
    let served = 0;
    const server = await startServer({
      handler: ({ payload }) => {
        served++;
        return payload;
      },
    });
    const client = await connectTo(server);
    const lengths = Array.from({ length: 300 }, (_unused, index) =>
      index % 50 === 49 ? 300_000 : (index * 101) % 4080,
    );
    const options = { timeoutMs: 30_000 };
    await Promise.all(
      lengths.map(async (length, index) => {
        const payload = pattern(length, index + 1);
        expectEqualBytes(await client.request(payload, options), payload);
      }),
    );
    expect(served).toBe(lengths.length);
    await client.close();
    await server.close();
  });

  it('runs every one-sided operation once', async () => {
    setFaults(faults);
    const server = await startServer({ regionBytes: 400_000 });
    const immediates: number[] = [];
    server.on('session', (session) => {
      session.on('immediate', (value) => immediates.push(value));
    });
    const client = await connectTo(server);
    const added = await Promise.all(Array.from({ length: 300 }, () => client.fetchAdd(0, 1n)));
    expect(added).toEqual(Array.from({ length: 300 }, (_unused, index) => BigInt(index)));
    await client.write(8, pattern(350_000));
    expectEqualBytes(await client.read(8, 350_000), pattern(350_000));
    const values = Array.from({ length: 100 }, (_unused, index) => index);
    await Promise.all(values.map((immediate) => client.write(0, new Uint8Array(8), { immediate })));
    await expect.poll(() => immediates).toEqual(values);
    await client.close();
    await server.close();
  });
});
