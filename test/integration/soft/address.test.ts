// The address of the soft device: given, refused, kept while the device is open, of another family.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { expectOneLine, verbena } from '../../helpers/process.js';
import { RawClient, plainHello } from '../../helpers/raw-client.js';
import {
  codeOfRejection,
  connectTo,
  expectNothingLeft,
  startServer,
  testCertificate,
} from '../../helpers/verbena.js';

afterEach(() => expectNothingLeft());

describe('the soft device', () => {
  it('takes the address that it is given, and keeps it while it is open', async () => {
    const server = await startServer({ softAddress: '127.99.88.77' });
    expect(server.snapshot()).toMatchObject({
      port: 1,
      gid: {
        index: 0,
        address: '::ffff:127.99.88.77',
        reason: 'RoCE v2 with an IPv4 address, the best in the table',
      },
    });
    const again = await connectTo(server, { softAddress: '127.99.88.77' });
    expect(await codeOfRejection(startServer({ softAddress: '127.99.88.78' }))).toBe(
      'ERR_VERBENA_SOFT_ADDRESS',
    );
    await again.close();
    await server.close();
  });

  it('has one address in a process, also one that it chose itself', async () => {
    const server = await startServer();
    const code = await codeOfRejection(connectTo(server, { softAddress: '127.9.9.9' }));
    expect(code).toBe('ERR_VERBENA_SOFT_ADDRESS');
    await server.close();
  });

  it.each(['192.0.2.99', '2001:db8::99', 'nonsense'])(
    'refuses the address %s with what to do, and works with another',
    async (softAddress) => {
      await expect(startServer({ softAddress })).rejects.toMatchObject({
        name: 'VerbenaError',
        message: expect.stringContaining('VERBENA_SOFT_ADDR') as string,
      });
      await (await startServer()).close();
    },
  );

  it('of another address family than the server refuses to connect, and says why', async () => {
    const server = await startServer();
    const { ca } = await testCertificate();
    const folder = mkdtempSync(join(tmpdir(), 'verbena-'));
    writeFileSync(join(folder, 'ca.pem'), ca);
    const target = `127.0.0.1:${server.address().port}`;
    await using ping = verbena([
      ...['ping', target, '--device', 'soft', '--soft-addr', '::1', '--count', '1'],
      ...['--ca', join(folder, 'ca.pem')],
    ]);
    const { code, stderr } = await ping.ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/GID_FAMILY_MISMATCH.*no ipv6 address; it has ipv4/);
    expect(server.stats().refused).toEqual({ ERR_VERBENA_GID_FAMILY_MISMATCH: 1 });
    rmSync(folder, { recursive: true });
    await server.close();
  });

  it('of another address family than a hello is told to the client with the refusal', async () => {
    const server = await startServer();
    const client = await RawClient.connect(server);
    const gid = '20010db8000000000000000000000001';
    client.send({ ...plainHello, endpoint: { ...plainHello.endpoint, gid } });
    expect(await client.refusal()).toMatchObject({
      type: 'reject',
      code: 'GID_FAMILY_MISMATCH',
      families: ['ipv4'],
    });
    await server.close();
  });

  it('says in one line that an address of serve is not here', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'verbena-'));
    const ended = await verbena([
      ...['serve', '--device', 'soft', '--soft-addr', '203.0.113.1', '--port', '0'],
      ...['--dev-cert', folder],
    ]).ended;
    expect(ended.code).toBe(1);
    expectOneLine(ended, /203\.0\.113\.1/);
    rmSync(folder, { recursive: true });
  });
});
