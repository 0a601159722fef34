// The device that a process shares: opened once, closed with its last user, opened again, used from
// several threads.
import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { connect } from '../../src/index.js';
import { HARDWARE_LIBRARY, loadAddon } from '../../src/native/load.js';
import { messageOf } from '../../src/errors.js';
import { acquireDevice } from '../../src/rdma/device.js';
import { testDevice } from '../helpers/environment.js';
import { repository } from '../helpers/process.js';
import {
  codeOfRejection,
  connectTo,
  expectEqualBytes,
  expectNothingLeft,
  pattern,
  sessionObjects,
  startServer,
  testCertificate,
} from '../helpers/verbena.js';

afterEach(() => expectNothingLeft());

describe('a device', () => {
  it('is one for all servers and clients of a thread', async () => {
    const servers = [await startServer(), await startServer()];
    const clients = await Promise.all(servers.map((server) => connectTo(server)));
    expect(loadAddon().liveObjects()).toMatchObject({ device: 1, qp: 4 });
    await Promise.all(clients.map((client) => client.close()));
    await Promise.all(servers.map((server) => server.close()));
  });

  it('is closed with its last user, and opens again', async () => {
    for (let round = 0; round < 5; round++) {
      await using server = await startServer();
      await using client = await connectTo(server);
      expectEqualBytes(await client.request(pattern(5000)), pattern(5000));
    }
  });

  it('stays while anyone uses it', () => {
    const first = acquireDevice({ device: testDevice });
    const second = acquireDevice({ device: testDevice });
    expect(second.device).toBe(first.device);
    expect(first.release()).toEqual([]);
    expect(first.release()).toEqual([]);
    expect(loadAddon().liveObjects().device).toBe(1);
    expect(second.release()).toEqual([]);
    expect(loadAddon().liveObjects().device).toBe(0);
  });

  it('says whose objects are left when its last user goes, and closes them', () => {
    const lease = acquireDevice({ device: testDevice });
    const { device } = lease;
    const pd = device.native.allocPd();
    device.registry.add('pd', 'somebody', 0, pd);
    const cq = device.group.createCq(8);
    device.registry.add('cq', 'somebody', 0, cq);
    expect(lease.release().map(messageOf)).toEqual(['somebody left open: pd, cq']);
  });

  it('that fails ends every connection, and no more are taken', async () => {
    const server = await startServer();
    const errors: string[] = [];
    server.on('error', ({ code }) => errors.push(code));
    const clients = [await connectTo(server), await connectTo(server)];
    const pending = clients.map((client) => codeOfRejection(client.read(0, 8)));
    const reasons: string[] = [];
    for (const client of clients) client.once('close', ({ code }) => reasons.push(code));
    server.on('sessionEnd', (_, { code }) => reasons.push(code));
    const lease = acquireDevice({ device: testDevice });
    lease.device.onAsyncEvent({ event: 'DEVICE_FATAL' });
    lease.release();
    await expect.poll(() => reasons).toHaveLength(4);
    const ends = /ERR_VERBENA_(DEVICE_FATAL|PEER_QP_ERROR)/;
    for (const code of [...reasons, ...(await Promise.all(pending))]) expect(code).toMatch(ends);
    expect(reasons).toContain('ERR_VERBENA_DEVICE_FATAL');
    expect(errors).toEqual(['ERR_VERBENA_DEVICE_FATAL']);
    expect(server.state).toBe('failed');
    expect(sessionObjects(server)).toEqual([]);
    // Whoever comes now opens the device anew; the server cannot.
    expect(await codeOfRejection(connectTo(server))).toBe('ERR_VERBENA_DEVICE_FATAL');
    await server.close();
    expect(server.state).toBe('closed');
  });

  it('whose port is down takes no new clients and keeps those it has', async () => {
    const server = await startServer();
    const client = await connectTo(server);
    const isActive: boolean[] = [];
    server.on('port', (active) => isActive.push(active));
    const lease = acquireDevice({ device: testDevice });
    const { device } = lease;
    device.onAsyncEvent({ event: 'PORT_ERR', port: 2 });
    expect(server.state).toBe('listening');
    device.onAsyncEvent({ event: 'PORT_ERR', port: 1 });
    device.onAsyncEvent({ event: 'PORT_ERR', port: 1 });
    expect(server.state).toBe('suspended');
    await expect(connectTo(server)).rejects.toMatchObject({
      code: 'ERR_VERBENA_PORT_NOT_ACTIVE',
      retryAfterMs: 1000,
    });
    expectEqualBytes(await client.request(pattern(100)), pattern(100));
    device.onAsyncEvent({ event: 'PORT_ACTIVE', port: 1 });
    expect(server.state).toBe('listening');
    await (await connectTo(server)).close();
    expect(isActive).toEqual([false, true]);
    lease.release();
    await client.close();
    await server.close();
  });

  it('chosen automatically is an adapter with an active port, or loudly the soft one', async () => {
    const library = loadAddon().openLibrary(HARDWARE_LIBRARY);
    const adapters = library.listDevices().filter(({ name }) => {
      const device = library.openDevice(name);
      const ports = Array.from({ length: device.queryDevice().portCount }, (_, port) => port + 1);
      const isActive = ports.some((port) => device.queryPort(port).state === 'ACTIVE');
      device.close();
      return isActive;
    });
    const warned = once(process, 'warning') as Promise<[Error & { code?: string }]>;
    const lease = acquireDevice({ device: 'auto' });
    expect(lease.device.name).toBe(adapters[0]?.name ?? 'soft0');
    if (adapters.length === 0) {
      const [warning] = await warned;
      expect(warning.code).toBe('VERBENA_SOFT_DEVICE');
      expect(warning.message).toContain('no RDMA adapter is usable');
    }
    lease.release();
  });
});

describe('a worker thread', () => {
  const startWorker = async (): Promise<[Worker, number]> => {
    const { cert, key } = await testCertificate();
    const script = join(repository, 'test/helpers/server-worker.mjs');
    const worker = new Worker(script, { workerData: { device: testDevice, cert, key } });
    const [{ port }] = (await once(worker, 'message')) as [{ port: number }];
    return [worker, port];
  };
  const open = async (port: number): ReturnType<typeof connect> => {
    const { ca } = await testCertificate();
    return connect({ device: testDevice, host: '127.0.0.1', port, ca });
  };

  it('serves clients of another thread, and leaves nothing', async () => {
    const [worker, port] = await startWorker();
    const client = await open(port);
    expectEqualBytes(await client.request(pattern(1_000_000)), pattern(1_000_000));
    await client.close();
    const exited = once(worker, 'exit');
    worker.postMessage('close');
    const [left] = (await once(worker, 'message')) as [unknown];
    expect(left).toEqual({ pd: 0, cq: 0, qp: 0, mr: 0, device: 0 });
    expect(await exited).toEqual([0]);
  });

  it.each(['exit', 'terminate'])('that ends by %s takes its connections with it', async (how) => {
    const [worker, port] = await startWorker();
    const client = await open(port);
    const closed = once(client, 'close') as Promise<[Error & { code: string }]>;
    if (how === 'exit') worker.postMessage('exit');
    else await worker.terminate();
    const [{ code }] = await closed;
    expect(code).toMatch(/ERR_VERBENA_(CONNECTION_LOST|QP_ERROR)/);
  });
});
