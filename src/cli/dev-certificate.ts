// Makes a development certificate authority and a server certificate, in memory or in a folder.
import { createPrivateKey, webcrypto, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { codeOf } from '../errors.js';
import { CliFailure } from './failure.js';

/** PEM texts. The authority's private key is thrown away: it signs one certificate. */
export interface DevCertificate {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const files = ['ca.pem', 'cert.pem', 'key.pem'] as const;
const authorityName = 'CN=Verbena development CA';
const validDays = 30;
const dayMs = 24 * 60 * 60 * 1000;
const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' };
const signing = { name: 'ECDSA', hash: 'SHA-256' };

/** What a certificate for `host` has to name: the host, this machine and its loopback. */
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
    name: authorityName,
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

/** What a folder holds: nothing of ours to lose, a certificate that will do, or one to replace. */
type Kept =
  { readonly state: 'none' | 'stale' } | { readonly state: 'fit'; readonly is: DevCertificate };

/** Judges a kept set. Throws when it cannot be one that `makeDevCertificate` made. */
function judge(kept: DevCertificate, host: string): Kept {
  const leaf = new X509Certificate(kept.cert);
  const authority = new X509Certificate(kept.ca);
  if (leaf.issuer !== authorityName || authority.subject !== authorityName) {
    throw new Error('the certificate there is not a development certificate of Verbena');
  }
  const named = namesFor(host).every((name) =>
    isIP(name) === 0 ? leaf.checkHost(name) !== undefined : leaf.checkIP(name) !== undefined,
  );
  const leftMs = Date.parse(leaf.validTo) - Date.now();
  const belong =
    leaf.verify(authority.publicKey) && leaf.checkPrivateKey(createPrivateKey(kept.key));
  return named && leftMs > dayMs && belong ? { state: 'fit', is: kept } : { state: 'stale' };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function keptIn(folder: string, host: string): Promise<Kept> {
  const [ca, cert, key] = await Promise.all(files.map((name) => readIfThere(join(folder, name))));
  if (ca === undefined && cert === undefined && key === undefined) return { state: 'none' };
  if (ca === undefined || cert === undefined || key === undefined) {
    throw new Error(`${files.join(', ')} are not all there`);
  }
  return judge({ ca, cert, key }, host);
}

/**
 * The certificate kept in `folder`; made and written there (`ca.pem`, `cert.pem`, `key.pem`) when
 * there is none, or when a development certificate there does not fit `host` or ends within a day.
 * Files that are not ours are never touched.
 */
export async function devCertificateIn(
  folder: string,
  host: string,
): Promise<DevCertificate & { readonly made: boolean }> {
  try {
    const kept = await keptIn(folder, host);
    if (kept.state === 'fit') return { ...kept.is, made: false };
    const fresh = await makeDevCertificate(host);
    await mkdir(folder, { recursive: true });
    // The mode counts for a new file only, so an old one goes first.
    await rm(join(folder, 'key.pem'), { force: true });
    await writeFile(join(folder, 'key.pem'), fresh.key, { mode: 0o600 });
    await writeFile(join(folder, 'cert.pem'), fresh.cert);
    await writeFile(join(folder, 'ca.pem'), fresh.ca);
    return { ...fresh, made: true };
  } catch (error) {
    throw new CliFailure(`cannot keep a development certificate in ${folder}`, {
      cause: error,
      hint: 'give --dev-cert a folder that can be written and holds no other certificates',
    });
  }
}
