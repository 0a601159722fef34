// The certificate and the key that `verbena serve` shows: from files, or made for trying out.
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { ServeConfig } from '../config/schema.js';
import { devCertificateIn } from './dev-certificate.js';
import { CliFailure, ExitCode } from './failure.js';

export interface Credentials {
  readonly cert: string;
  readonly key: string;
}

async function readPem(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new CliFailure(`cannot read the ${what}`, {
      cause,
      hint: 'check --cert and --key, or have a development certificate made with --dev-cert DIR',
    });
  }
}

export async function readCredentials(
  { cert, key, devCert, host }: Pick<ServeConfig, 'cert' | 'key' | 'devCert' | 'host'>,
  log: Logger,
): Promise<Credentials> {
  if (devCert !== undefined) {
    if (cert !== undefined || key !== undefined) {
      throw new CliFailure('--dev-cert does not go with --cert and --key', {
        hint: 'give one or the other',
        exitCode: ExitCode.usage,
      });
    }
    const { made, ...credentials } = await devCertificateIn(devCert, host);
    const what = made ? 'made a development certificate' : 'using the development certificate';
    log.warn({ folder: devCert }, `${what}; clients trust it with --ca ${devCert}/ca.pem`);
    return credentials;
  }
  if (cert === undefined || key === undefined) {
    throw new CliFailure('a server needs a certificate and its key', {
      hint: 'give --cert FILE and --key FILE, or --dev-cert DIR to have one made for trying out',
    });
  }
  return { cert: await readPem(cert, 'certificate'), key: await readPem(key, 'private key') };
}
