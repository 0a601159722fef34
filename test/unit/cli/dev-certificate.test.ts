// Development certificates: they verify in a TLS handshake, are kept, and are made anew when unfit.
import { X509Certificate } from 'node:crypto';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { devCertificateIn, makeDevCertificate } from '../../../src/cli/dev-certificate.js';

describe('makeDevCertificate', () => {
  it('makes a server certificate that a client verifies by name and by address', async () => {
    const { ca, cert, key } = await makeDevCertificate('server.example');
    const server = createServer({ cert, key, minVersion: 'TLSv1.3' }, (socket) => socket.end());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    for (const servername of ['localhost', 'server.example']) {
      const socket = connect({ host: '127.0.0.1', port, ca, servername });
      await once(socket, 'secureConnect');
      expect(socket.authorized).toBe(true);
      socket.destroy();
    }
    const stranger = connect({ host: '127.0.0.1', port, ca, servername: 'other.example' });
    const [error] = (await once(stranger, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    server.close();
    await once(server, 'close');
  });

  it('makes another key and authority each time', async () => {
    const [a, b] = await Promise.all([makeDevCertificate(), makeDevCertificate()]);
    expect(a.key).not.toBe(b.key);
    expect(new X509Certificate(a.cert).verify(new X509Certificate(b.ca).publicKey)).toBe(false);
  });
});

/** A certificate with another issuer, made by openssl. */
async function foreignCertificate(): Promise<string> {
  const { stdout } = await promisify(execFile)('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-keyout', '/dev/null', '-subj', '/CN=somebody else', '-days', '9'],
  ]);
  return stdout;
}

describe('devCertificateIn', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'verbena-cert-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('writes three files, the key for the owner only, and keeps them', async () => {
    const first = await devCertificateIn(join(folder, 'new'), 'localhost');
    expect(first.made).toBe(true);
    expect(await readFile(join(folder, 'new', 'ca.pem'), 'utf8')).toBe(first.ca);
    expect((await stat(join(folder, 'new', 'key.pem'))).mode & 0o777).toBe(0o600);
    expect(await devCertificateIn(join(folder, 'new'), 'localhost')).toEqual({
      ...first,
      made: false,
    });
  });

  it('makes a new one when the kept one does not name the host', async () => {
    const first = await devCertificateIn(folder, 'localhost');
    const second = await devCertificateIn(folder, '127.0.0.9');
    expect(second.made).toBe(true);
    expect(second.cert).not.toBe(first.cert);
    expect(new X509Certificate(second.cert).checkIP('127.0.0.9')).toBe('127.0.0.9');
  });

  it('makes a new one, with a private key, when the kept files do not fit together', async () => {
    await devCertificateIn(folder, 'localhost');
    await writeFile(join(folder, 'ca.pem'), (await makeDevCertificate()).ca);
    await chmod(join(folder, 'key.pem'), 0o644);
    expect((await devCertificateIn(folder, 'localhost')).made).toBe(true);
    expect((await stat(join(folder, 'key.pem'))).mode & 0o777).toBe(0o600);
  });

  it.each([
    ['a file that is no certificate', 'cert.pem', 'nonsense'],
    ['the certificate of somebody else', 'cert.pem', undefined],
    ['a part of the set', 'ca.pem', ''],
  ])('touches nothing in a folder that holds %s', async (what, name, content) => {
    await devCertificateIn(folder, 'localhost');
    if (what === 'a part of the set') await rm(join(folder, name));
    else await writeFile(join(folder, name), content ?? (await foreignCertificate()));
    const key = await readFile(join(folder, 'key.pem'), 'utf8');
    await expect(devCertificateIn(folder, '127.0.0.9')).rejects.toThrow(/holds no other/);
    expect(await readFile(join(folder, 'key.pem'), 'utf8')).toBe(key);
  });

  it('says which folder cannot be used', async () => {
    await writeFile(join(folder, 'file'), '');
    await expect(devCertificateIn(join(folder, 'file'), 'localhost')).rejects.toThrow(
      /cannot keep a development certificate in .*file.*give --dev-cert a folder/,
    );
  });
});
