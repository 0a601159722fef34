// TLS defaults of both sides: version 1.3 only, one ALPN protocol, no tickets; always the complete
// set of options.
import { constants } from 'node:crypto';
import {
  TLSSocket,
  createSecureContext,
  type ConnectionOptions,
  type PeerCertificate,
  type SecureContext,
  type TlsOptions,
} from 'node:tls';
import { VerbenaError } from '../errors.js';

export const ALPN_PROTOCOL = 'verbena/1';

/** PEM text or bytes; several certificates may be concatenated or listed. */
export type Pem = string | Buffer | (string | Buffer)[];

export interface ServerTlsOptions {
  readonly cert: Pem;
  readonly key: Pem;
  /** Authorities of client certificates. */
  readonly ca?: Pem | undefined;
  /** Ask for a client certificate and refuse clients without a valid one. */
  readonly requestCert?: boolean | undefined;
  readonly handshakeTimeoutMs: number;
}

export interface ClientTlsOptions {
  readonly host: string;
  readonly port: number;
  /** Authorities of the server's certificate; default: those of Node. */
  readonly ca?: Pem | undefined;
  readonly cert?: Pem | undefined;
  readonly key?: Pem | undefined;
  readonly servername?: string | undefined;
  readonly rejectUnauthorized?: boolean | undefined;
}

// `minVersion` is repeated wherever a context is made: left out, TLS 1.2 would be accepted again.
const common = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ALPNProtocols: [ALPN_PROTOCOL],
} as const;

export function serverTlsOptions(options: ServerTlsOptions): TlsOptions {
  const requestCert = options.requestCert ?? false;
  return {
    ...common,
    ALPNProtocols: [ALPN_PROTOCOL],
    cert: options.cert,
    key: options.key,
    ...(options.ca === undefined ? {} : { ca: options.ca }),
    requestCert,
    rejectUnauthorized: requestCert,
    handshakeTimeout: options.handshakeTimeoutMs,
    // A ticket would outlive the revocation of a client's certificate.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

type Credentials = Pick<ClientTlsOptions, 'ca' | 'cert' | 'key'>;

let newest: { readonly of: Credentials; readonly context: SecureContext } | undefined;

/** Reading the authorities takes a good part of a handshake; most clients use the same again. */
function clientContext({ ca, cert, key }: Credentials): SecureContext {
  const { of, context: last } = newest ?? {};
  // Those that Node trusts by itself may change meanwhile.
  const isSame = ca !== undefined && of?.ca === ca && of.cert === cert && of.key === key;
  if (isSame && last !== undefined) return last;
  const context = createSecureContext({
    minVersion: common.minVersion,
    maxVersion: common.maxVersion,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  });
  newest = { of: { ca, cert, key }, context };
  return context;
}

/** Throws when certificate, key or authorities are unusable. */
export function clientTlsOptions(options: ClientTlsOptions): ConnectionOptions {
  return {
    ...common,
    ALPNProtocols: [ALPN_PROTOCOL],
    host: options.host,
    port: options.port,
    secureContext: clientContext(options),
    ...(options.servername === undefined ? {} : { servername: options.servername }),
    rejectUnauthorized: options.rejectUnauthorized ?? true,
  };
}

/**
 * To check the server's name Node asks for all of its chain, and that decodes every certificate
 * anew, which takes a tenth of a client's set-up. The check looks at the first one alone.
 */
export function offerFirstCertificate(socket: TLSSocket): void {
  const first = (): PeerCertificate => TLSSocket.prototype.getPeerCertificate.call(socket);
  socket.getPeerCertificate = first as TLSSocket['getPeerCertificate'];
}

/** Node refuses a wrong protocol but accepts a peer that offers none: both sides check. */
export function checkAlpn(socket: TLSSocket): void {
  if (socket.alpnProtocol === ALPN_PROTOCOL) return;
  throw new VerbenaError(
    'ERR_VERBENA_ALPN_REQUIRED',
    `the peer did not agree on the ALPN protocol ${ALPN_PROTOCOL}; it is probably not Verbena`,
  );
}
