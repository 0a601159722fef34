// Makes a development certificate authority and a server certificate, in memory or in a folder.
import { X509Certificate, webcrypto } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { CliFailure } from './failure.js';

/** PEM texts. The authority's private key is thrown away: it signs one certificate. */
export interface DevCertificate {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const validDays = 30;
const dayMs = 24 * 60 * 60 * 1000;
const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' };
const signing = { name: 'ECDSA', hash: 'SHA-256' };

/** The names that a certificate for `host` has to carry: the host, this machine and its loopback. */
function namesFor(host: string): string[] {
  const wildcard = host === '0.0.0.0' || host === '::';
  const names = ['localhost', hostname(), '127.0.0.1', '::1', ...(wildcard ? [] : [host])];
  return [...new Set(names)];
}

function privateKeyPem(pkcs8: ArrayBuffer): string {
  const lines =
    Buffer.from(pkcs8)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`;
}

/** An ECDSA P-256 authority and a server certificate that it signed, valid for 30 days. */
export async function makeDevCertificate(host = 'localhost'): Promise<DevCertificate> {
  // The library's container wants the reflection polyfill to be there first.
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const caKeys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const keys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  // A peer's clock may be a little behind.
  const notBefore = new Date(Date.now() - dayMs);
  const notAfter = new Date(Date.now() + validDays * dayMs);
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=Verbena development CA',
    notBefore,
    notAfter,
    keys: caKeys,
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  const names = namesFor(host).map((name) => ({
    type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const),
    value: name,
  }));
  const cert = await x509.X509CertificateGenerator.create({
    subject: 'CN=Verbena development server',
    issuer: ca.subject,
    notBefore,
    notAfter,
    signingKey: caKeys.privateKey,
    publicKey: keys.publicKey,
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names),
      await x509.AuthorityKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    ca: `${ca.toString('pem')}\n`,
    cert: `${cert.toString('pem')}\n`,
    key: privateKeyPem(key),
  };
}

/** True when the certificate was signed by this authority, names the host and is not about to end. */
function stillServes({ ca, cert }: DevCertificate, host: string): boolean {
  const leaf = new X509Certificate(cert);
  const wanted = namesFor(host).every((name) =>
    isIP(name) === 0 ? leaf.checkHost(name) !== undefined : leaf.checkIP(name) !== undefined,
  );
  const left = Date.parse(leaf.validTo) - Date.now();
  return wanted && left > dayMs && leaf.verify(new X509Certificate(ca).publicKey);
}

async function readFrom(folder: string): Promise<DevCertificate | undefined> {
  const [ca, cert, key] = await Promise.all(
    ['ca.pem', 'cert.pem', 'key.pem'].map((name) =>
      readFile(join(folder, name), 'utf8').catch((error: unknown) => {
        if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
        throw error;
      }),
    ),
  );
  return ca === undefined || cert === undefined || key === undefined
    ? undefined
    : { ca, cert, key };
}

/**
 * The certificate kept in `folder`; made and written there (`ca.pem`, `cert.pem`, `key.pem`) when there is
 * none, or when what is there does not fit `host` or ends within a day.
 */
export async function devCertificateIn(
  folder: string,
  host: string,
): Promise<DevCertificate & { readonly made: boolean }> {
  try {
    const kept = await readFrom(folder);
    if (kept !== undefined && stillServes(kept, host)) return { ...kept, made: false };
    const fresh = await makeDevCertificate(host);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'key.pem'), fresh.key, { mode: 0o600 });
    await writeFile(join(folder, 'cert.pem'), fresh.cert);
    await writeFile(join(folder, 'ca.pem'), fresh.ca);
    return { ...fresh, made: true };
  } catch (error) {
    throw new CliFailure(`cannot keep a development certificate in ${folder}`, {
      cause: error,
      hint: 'give --dev-cert a folder that can be written',
    });
  }
}
