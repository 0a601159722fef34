// A device that refuses in the middle of a client's set-up, and objects that do not close: undone,
// told, and served on.
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Connection, Server, VerbenaError } from '../../src/index.js';
import { PostOpcode, type NativeQpAttributes } from '../../src/native/addon.js';
import { acquireDevice, type Device, type DeviceLease } from '../../src/rdma/device.js';
import { probeLimits } from '../../src/server/probe-limits.js';
import { testDevice } from '../helpers/environment.js';
import { RawClient, RawEndpoint, plainHello } from '../helpers/raw-client.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  expectNothingLeft,
  pattern,
  sessionObjects,
  startServer,
} from '../helpers/verbena.js';

let lease: DeviceLease;
let device: Device;
let server: Server;
let bystander: Connection;
let objectsOfBystander: string[];
const restores: (() => void)[] = [];

beforeAll(async () => {
  lease = acquireDevice({ device: testDevice });
  device = lease.device;
  server = await startServer();
  bystander = await connectTo(server);
  objectsOfBystander = sessionObjects(server);
});

afterEach(async () => {
  for (const restore of restores.splice(0)) restore();
  await expect.poll(() => sessionObjects(server)).toEqual(objectsOfBystander);
  expectEqualBytes(await bystander.request(pattern(9000)), pattern(9000));
  const next = await connectTo(server);
  expectEqualBytes(await next.request(pattern(9000)), pattern(9000));
  await next.close();
  await expect.poll(() => server.sessions()).toHaveLength(1);
});

afterAll(async () => {
  await bystander.close();
  await server.close();
  lease.release();
  expectNothingLeft();
});

function nativeError(errnoName: string, operation: string): Error {
  const details = { code: 'ERR_VERBENA_VERBS', errno: 12, errnoName, operation };
  return Object.assign(new Error(`${operation}: ${errnoName}`), details);
}

/** Puts `replacement` in the place of a method until the end of the test. */
function replace<T extends object, K extends keyof T & string>(
  object: T,
  name: K,
  replacement: (original: T[K]) => T[K],
): void {
  const original = object[name];
  const bound = (original as (...args: unknown[]) => unknown).bind(object) as T[K];
  Object.defineProperty(object, name, { value: replacement(bound), configurable: true });
  restores.push(() => Reflect.deleteProperty(object, name));
}

type Step = (fail: () => never) => void;

const failRegistration =
  (nth: number): Step =>
  (fail) => {
    replace(device.native, 'allocPd', (allocPd) => () => {
      const pd = allocPd();
      let calls = 0;
      replace(pd, 'registerMemory', (register) => (...args) => {
        if (++calls === nth) fail();
        return register(...args);
      });
      return pd;
    });
  };

const failModification =
  (state: NativeQpAttributes['state']): Step =>
  (fail) => {
    replace(device.group, 'createQp', (createQp) => (options) => {
      const qp = createQp(options);
      replace(qp, 'modify', (modify) => (attributes) => {
        if (attributes.state === state) fail();
        modify(attributes);
      });
      return qp;
    });
  };

const steps: [string, Step][] = [
  ['allocating a protection domain', (fail) => replace(device.native, 'allocPd', () => fail)],
  ['creating a completion queue', (fail) => replace(device.group, 'createCq', () => fail)],
  ['creating a queue pair', (fail) => replace(device.group, 'createQp', () => fail)],
  ['moving to INIT', failModification('INIT')],
  ['registering the rings', failRegistration(1)],
  ['registering the region', failRegistration(2)],
  ['moving to RTR', failModification('RTR')],
  ['moving to RTS', failModification('RTS')],
];

describe('a device that refuses', () => {
  it.each(steps)('%s for want of memory makes the client try later', async (_, step) => {
    step(() => {
      throw nativeError('ENOMEM', 'ibv_refused');
    });
    const client = await RawClient.connect(server);
    client.send(plainHello);
    expect(await client.refusal()).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      retryAfterMs: 1000,
    });
  });

  it.each(steps)('%s for another reason tells the client nothing more', async (_, step) => {
    step(() => {
      throw nativeError('EINVAL', 'ibv_secret');
    });
    const refused = new Promise<VerbenaError>((resolve) => server.once('refused', resolve));
    const client = await RawClient.connect(server);
    client.send(plainHello);
    const refusal = await client.refusal();
    expect(refusal.code).toBe('INTERNAL');
    expect(JSON.stringify(refusal)).not.toContain('secret');
    expect((await refused).message).toContain('ibv_secret');
  });

  it.each(steps)('%s at the client rejects connect and leaves nothing', async (_, step) => {
    step(() => {
      throw nativeError('ENOMEM', 'ibv_refused');
    });
    // The client is the first to make objects; the server is not asked before.
    expect(await codeOfRejection(connectTo(server))).toMatch(/ERR_VERBENA_/);
  });
});

describe('probing the limits', () => {
  const options = { device: testDevice, most: 40 };
  const found = async (): Promise<unknown[]> =>
    (await probeLimits(options)).limits.map((limit) => [limit.kind, limit.found, limit.refusal]);

  it('finds as many as were tried where the device refuses nothing', async () => {
    expect(await found()).toEqual([
      ['protection domains', 40, undefined],
      ['completion queues', 40, undefined],
      ['memory regions', 40, undefined],
      ['sessions', 40, undefined],
    ]);
  });

  it('finds where the device refuses, in the middle of a session too, and why', async () => {
    let open = 0;
    replace(device.native, 'allocPd', (allocPd) => () => {
      const pd = allocPd();
      replace(pd, 'registerMemory', (register) => (...args) => {
        if (open === 7) throw nativeError('ENOMEM', 'ibv_reg_mr');
        const mr = register(...args);
        open++;
        replace(mr, 'close', (close) => () => {
          close();
          open--;
        });
        return mr;
      });
      return pd;
    });
    expect(await found()).toEqual([
      ['protection domains', 40, undefined],
      ['completion queues', 40, undefined],
      ['memory regions', 7, 'ibv_reg_mr: ENOMEM'],
      ['sessions', 3, 'ibv_reg_mr: ENOMEM'],
    ]);
  });
});

describe('memory for the first one-sided operation', () => {
  it('that cannot be had fails the operation, and the next one asks again', async () => {
    const client = await connectTo(server);
    replace(device.pool, 'acquire', () => () => {
      throw Object.assign(new Error('no memory'), { code: 'ERR_VERBENA_NO_MEMORY' });
    });
    const bytes = pattern(8);
    expect(await codeOfRejection(client.write(0, bytes))).toBe('ERR_VERBENA_NO_MEMORY');
    for (const restore of restores.splice(0)) restore();
    await client.write(0, bytes);
    expectEqualBytes(await client.read(0, 8), bytes);
    await client.close();
  });
});

describe('memory for a large payload', () => {
  it('that cannot be had at the client fails the request, and the connection stays', async () => {
    const client = await connectTo(server);
    replace(device.pool, 'acquireUnzeroed', () => () => {
      throw Object.assign(new Error('no memory'), { code: 'ERR_VERBENA_NO_MEMORY' });
    });
    expect(await codeOfRejection(client.request(new Uint8Array(100_000)))).toBe(
      'ERR_VERBENA_NO_MEMORY',
    );
    for (const restore of restores.splice(0)) restore();
    expectEqualBytes(await client.request(pattern(100_000)), pattern(100_000));
    await client.close();
  });

  it('that cannot be had at the receiver fails the request, and the connection stays', async () => {
    const client = await connectTo(server);
    let acquisitions = 0;
    replace(device.pool, 'acquireUnzeroed', (acquire) => (bytes) => {
      // The first is the sender's.
      if (++acquisitions === 2) {
        throw Object.assign(new Error('no memory'), { code: 'ERR_VERBENA_NO_MEMORY' });
      }
      return acquire(bytes);
    });
    expect(await codeOfRejection(client.request(new Uint8Array(100_000)))).toBe(
      'ERR_VERBENA_RENDEZVOUS',
    );
    expectEqualBytes(await client.request(pattern(100_000)), pattern(100_000));
    await client.close();
  });
});

describe('an object that does not close', () => {
  it('is reported, and everything else is closed', async () => {
    const other = await startServer();
    const errors: VerbenaError[] = [];
    other.on('error', (error) => errors.push(error));
    replace(device.group, 'createCq', (createCq) => (depth) => {
      const cq = createCq(depth);
      replace(cq, 'close', (close) => () => {
        close();
        throw new Error('does not want to');
      });
      return cq;
    });
    const client = await RawClient.connect(other);
    client.send({ ...plainHello, endpoint: { ...plainHello.endpoint, psn: 1 } });
    await client.next();
    client.socket.destroy();
    await expect.poll(() => errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({ code: 'ERR_VERBENA_CLEANUP' });
    expect(errors[0]?.message).toContain('does not want to');
    const stuck = other.snapshot().resources.filter(({ closeError }) => closeError !== undefined);
    expect(stuck).toMatchObject([{ kind: 'cq', closeError: 'does not want to' }]);
    expect(await codeOfRejection(other.close())).toBe('ERR_VERBENA_CLEANUP');
    for (const { id } of stuck) {
      for (const restore of restores.splice(0)) restore();
      device.registry.close(id);
    }
  });
});

describe('a flush', () => {
  it('is waited for by turns of the event loop, however long one of them takes', async () => {
    const client = await connectTo(server);
    const ended = once(server, 'sessionEnd');
    const complaints: VerbenaError[] = [];
    server.on('error', (error) => complaints.push(error));
    let blocked = 0;
    replace(device.group, 'post', (post) => (...args) => {
      post(...args);
      // The last post of a queue pair marks the end of its flush. Then the thread is busy for long.
      if (args[1] !== PostOpcode.send) return;
      blocked++;
      process.nextTick(() => {
        const end = performance.now() + 1100;
        while (performance.now() < end);
      });
    });
    await client.close();
    await ended;
    expect(blocked).toBe(2);
    expect(complaints).toEqual([]);
  });
});

describe('an offer that nobody reads', () => {
  it('is withdrawn in time by the server, and its request is done', async () => {
    const other = await startServer({
      rendezvousTimeoutMs: 100,
      handler: () => new Uint8Array(50_000),
    });
    const client = await RawClient.connect(other);
    const raw = await RawEndpoint.open(client);
    raw.endpoint.send(1, 0, 0, 0, raw.proof());
    await client.next();
    const before = sessionObjects(other).length;
    raw.endpoint.send(2, 0, 1, 0);
    await expect.poll(() => sessionObjects(other).length).toBe(before + 1);
    await expect.poll(() => other.stats().traffic.offersExpired).toBe(1);
    expect(sessionObjects(other)).toHaveLength(before);
    client.socket.destroy();
    await raw.close();
    await other.close();
  });
});
