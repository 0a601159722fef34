// Accepts TLS connections, and gives each one deadline from TCP accept to the end of its set-up.
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import {
  createSecureContext,
  createServer as createTlsServer,
  type Server as TlsServer,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import { AddressRates } from '../admission/address-rates.js';
import { VerbenaError, codeOf, messageOf } from '../errors.js';
import { AdmissionRefusal } from './refusal.js';

/** What can change while it listens. */
export interface ListenerLimits {
  readonly handshakeTimeoutMs: number;
  readonly maxPending: number;
  /** Connections of one address a second, and at once; 0 for no limit. */
  readonly ratePerAddress: number;
}

export interface ListenerOptions {
  readonly tls: TlsOptions;
  readonly limits: ListenerLimits;
  /** TLS is established. The deadline runs on until `pending.done()`. */
  readonly onSecure: (socket: TLSSocket, pending: PendingSocket) => void;
  /** A peer did not get through TLS. */
  readonly onRefused: (error: Error) => void;
}

/** A socket whose set-up is not finished. */
export class PendingSocket {
  readonly #raw: Socket;
  readonly #forget: () => void;
  #timer: NodeJS.Timeout | undefined;
  readonly #onClose = (): void => this.done();
  readonly #acceptedAt = performance.now();
  /** Called instead of destroying the socket silently when the deadline passes. */
  onDeadline: (() => void) | undefined;
  /** What the peer is to be told once TLS can carry it. */
  readonly refusal: AdmissionRefusal | undefined;

  constructor(
    raw: Socket,
    timeoutMs: number,
    refusal: AdmissionRefusal | undefined,
    forget: () => void,
  ) {
    this.#raw = raw;
    this.refusal = refusal;
    this.#forget = forget;
    this.#timer = setTimeout(() => this.#expire(), timeoutMs);
    raw.once('close', this.#onClose);
  }

  /** Milliseconds since the TCP connection was accepted. */
  get ageMs(): number {
    return performance.now() - this.#acceptedAt;
  }

  /** The set-up is over, well or not. Idempotent. */
  done(): void {
    clearTimeout(this.#timer);
    // A session outlives its set-up by far, and should not hold what that needed.
    this.#timer = undefined;
    this.#raw.off('close', this.#onClose);
    this.#forget();
  }

  destroy(): void {
    this.done();
    this.#raw.destroy();
  }

  // Node's own handshake timeout reports, but does not close.
  #expire(): void {
    if (this.onDeadline === undefined) this.destroy();
    else this.onDeadline();
  }
}

// The address and port of the peer name a connection that has been accepted.
function keyOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ''} ${socket.remotePort ?? 0}`;
}

/** Throws ERR_VERBENA_TLS when certificate or key are unusable. */
function withUsablePem<T>(make: () => T): T {
  try {
    return make();
  } catch (cause) {
    throw new VerbenaError(
      'ERR_VERBENA_TLS',
      `the certificate or the key is not usable: ${messageOf(cause)}. ` +
        'Give PEM files that belong together',
      { cause },
    );
  }
}

/** For each socket in its set-up so many may wait for theirs, with nothing but TCP. */
const WAITING_FACTOR = 4;

export class Listener {
  /** Accepts; those that there is room for go on to TLS. */
  readonly #server: Server;
  readonly #tls: TlsServer;
  readonly #options: ListenerOptions;
  #limits: ListenerLimits;
  /** All whose set-up is not finished, and of those, who wait for it to begin, oldest first. */
  readonly #pending = new Map<string, PendingSocket>();
  readonly #waiting = new Map<string, Socket>();
  readonly #rates: AddressRates;
  #turnedAway = 0;
  #droppedByRate = 0;

  /** Throws ERR_VERBENA_TLS when certificate or key are unusable. */
  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#limits = options.limits;
    this.#rates = new AddressRates(options.limits.ratePerAddress);
    this.#tls = withUsablePem(() => createTlsServer(options.tls));
    this.#server = createServer((raw) => this.#onConnection(raw));
    this.#tls.on('secureConnection', (socket) => this.#onSecure(socket));
    this.#tls.on('tlsClientError', (error, socket) => {
      // Left alone, the socket would stay open.
      socket.destroy();
      options.onRefused(error);
    });
  }

  /** Sockets whose set-up is not finished. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Sockets closed at once because too many were in their set-up. */
  get turnedAway(): number {
    return this.#turnedAway;
  }

  /** Sockets closed at once because their address comes too often, and was told so enough. */
  get droppedByRate(): number {
    return this.#droppedByRate;
  }

  address(): AddressInfo {
    const address = this.#server.address();
    if (address !== null && typeof address === 'object') return address;
    throw new VerbenaError('ERR_VERBENA_CLOSED', 'the server does not listen any more');
  }

  listen(host: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const onError = (error: Error): void => reject(listenError(error, host, port));
      this.#server.once('error', onError);
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', onError);
        resolve();
      });
    });
  }

  set limits(limits: ListenerLimits) {
    this.#limits = limits;
    this.#rates.perSecond = limits.ratePerAddress;
    this.#beginNext();
  }

  /**
   * For whoever connects from now on. The whole set of options: what is left out of it is not kept
   * but gets Node's default. Throws ERR_VERBENA_TLS and changes nothing when it is unusable.
   */
  setTls(tls: TlsOptions): void {
    withUsablePem(() => createSecureContext(tls));
    this.#tls.setSecureContext(tls);
  }

  /** Reports errors of the listening socket after `listen`. */
  onError(callback: (error: Error) => void): void {
    this.#server.on('error', callback);
  }

  /** Accepts nothing more. */
  stop(): void {
    if (this.#server.listening) this.#server.close();
  }

  /** Accepts nothing more and drops what is in its set-up; resolves when every socket is closed. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#waiting.clear();
    for (const pending of [...this.#pending.values()]) pending.destroy();
    await closed;
  }

  #onConnection(raw: Socket): void {
    const { maxPending, handshakeTimeoutMs } = this.#limits;
    // An error of the raw socket is reported through its TLS socket as well.
    raw.on('error', () => undefined);
    const isFull = this.#pending.size >= maxPending * (1 + WAITING_FACTOR);
    if (isFull) this.#turnedAway++;
    const address = raw.remoteAddress;
    if (isFull || address === undefined || raw.remotePort === undefined) {
      raw.destroy();
      return;
    }
    const decision = this.#rates.judge(address, performance.now());
    if (decision.verdict === 'drop') {
      this.#droppedByRate++;
      raw.destroy();
      return;
    }
    const refusal =
      decision.verdict === 'tell' ? tooOften(address, decision.retryAfterMs) : undefined;
    const key = keyOf(raw);
    const forget = (): void => this.#forget(key);
    this.#pending.set(key, new PendingSocket(raw, handshakeTimeoutMs, refusal, forget));
    this.#waiting.set(key, raw);
    this.#beginNext();
  }

  /** TLS costs most of a set-up: those who come first are through before the rest begin. */
  #beginNext(): void {
    for (const [key, raw] of this.#waiting) {
      if (this.#pending.size - this.#waiting.size >= this.#limits.maxPending) return;
      this.#waiting.delete(key);
      this.#tls.emit('connection', raw);
    }
  }

  #forget(key: string): void {
    this.#pending.delete(key);
    this.#waiting.delete(key);
    this.#beginNext();
  }

  #onSecure(socket: TLSSocket): void {
    const pending = this.#pending.get(keyOf(socket));
    if (pending === undefined) socket.destroy();
    else this.#options.onSecure(socket, pending);
  }
}

function tooOften(address: string, retryAfterMs: number): AdmissionRefusal {
  const message = `${address} connects more often than it may (connectionRatePerAddress)`;
  return new AdmissionRefusal('addressRate', message, retryAfterMs);
}

const listenHints: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another server uses it; choose another port, or stop that server (ss -ltnp)',
  EADDRNOTAVAIL: 'this machine has no such address; choose one that `ip addr` shows',
  EACCES: 'ports below 1024 need privileges; choose another port',
  ENOTFOUND: 'the name cannot be resolved; give an address',
};

/** What to do about a port that cannot be had. */
export function listenError(cause: Error, host: string, port: number): VerbenaError {
  const hint = listenHints[codeOf(cause) ?? ''] ?? messageOf(cause);
  return new VerbenaError('ERR_VERBENA_LISTEN', `cannot listen on ${host} port ${port}: ${hint}`, {
    cause,
  });
}
