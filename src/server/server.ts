// The server: one device, one listener, many sessions; drain and close that leave nothing behind.
import { EventEmitter } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ringsBytes } from '../connection/endpoint.js';
import { newTrafficStats, type TrafficStats } from '../connection/traffic-stats.js';
import { numberOption } from '../connection/option-checks.js';
import { within } from '../connection/within.js';
import { VerbenaError, cleanupError, messageOf, toVerbenaError } from '../errors.js';
import { PsnSet, drawPsn } from '../handshake/psn.js';
import { serverTlsOptions } from '../handshake/tls.js';
import type { NativePollGroupStats } from '../native/addon.js';
import { gidText, type GidChoice, type PortChoice } from '../rdma/addressing.js';
import type { BufferPoolStats } from '../rdma/buffer-pool.js';
import { acquireDevice, type Device, type DeviceLease } from '../rdma/device.js';
import type { OwnerNode, ResourceRecord } from '../rdma/registry.js';
import { readSystemLimits } from '../rdma/system-limits.js';
import { capacityOf, type Capacity } from './capacity.js';
import { Listener, type PendingSocket } from './listener.js';
import { resolveServerOptions, type ResolvedServerOptions, type ServerOptions } from './options.js';
import { ServerSession, drainingError, type Session, type SessionHost } from './session.js';
import { SlotMap } from './slot-map.js';

const MAX_DRAIN_MS = 86_400_000;

export interface ServerEvents {
  /** A client is connected. */
  session: [session: Session];
  /** A client is gone and everything of it released. `reason.code` says how it ended. */
  sessionEnd: [session: Session, reason: VerbenaError];
  /** A client was refused during its set-up. */
  refused: [error: VerbenaError];
  /** A handler threw what is not a RequestError; the client got a general error. */
  requestError: [session: Session, error: unknown];
  /** The server itself has a problem: the listening socket failed, or a clean-up step did. */
  error: [error: VerbenaError];
}

export interface ServerSnapshot {
  readonly device: string;
  /** Port of the device, the address that clients of any family are first offered, and why that. */
  readonly port: number;
  readonly gid: { readonly index: number; readonly address: string; readonly reason: string };
  readonly state: ServerState;
  /** Clients that configuration, device and system allow, and each of their limits. */
  readonly capacity: Capacity;
  readonly sessions: readonly SessionSnapshot[];
  /** Sockets whose set-up is not finished. */
  readonly pendingHandshakes: number;
  /** Every native object of this process's device, of this server or others. */
  readonly resources: readonly ResourceRecord[];
  /** The same by owner, with what was made from what. */
  readonly tree: readonly OwnerNode[];
  readonly registeredBytes: number;
  readonly pool: BufferPoolStats;
}

export interface SessionSnapshot {
  readonly id: number;
  readonly name: string;
  readonly remoteAddress: string;
  readonly qpn: number;
  readonly localPsn: number;
  readonly remotePsn: number;
  readonly isOpen: boolean;
  readonly requestsInWork: number;
}

export interface ServerStats {
  /** Set-ups that succeeded, and that failed by code. */
  readonly accepted: number;
  readonly refused: Readonly<Record<string, number>>;
  /** Sessions ended, by the code of the reason. */
  readonly ended: Readonly<Record<string, number>>;
  readonly traffic: Readonly<TrafficStats>;
  readonly pollGroup: NativePollGroupStats | undefined;
}

export type ServerState = 'listening' | 'draining' | 'closing' | 'closed';

/** A running server; see `createServer`. */
export interface Server extends EventEmitter<ServerEvents>, AsyncDisposable {
  /** Name of the device in use. */
  readonly deviceName: string;
  readonly state: ServerState;
  /** Clients that configuration, device and system allow, and each of their limits. */
  readonly capacity: Capacity;
  /** Where it listens for TLS. */
  address(): AddressInfo;
  /** Clients connected now. */
  sessions(): Session[];
  /** What exists now: sessions and every native object. */
  snapshot(): ServerSnapshot;
  /** What happened so far. */
  stats(): ServerStats;
  /**
   * Refuses new clients, asks those connected to finish and leave, and closes those that do not
   * within `timeoutMs` (default: `drainTimeoutMs`). Resolves when no session is left. The server
   * still answers newcomers, with a refusal.
   */
  drain(timeoutMs?: number): Promise<void>;
  /**
   * Gives requests in work up, closes every session in order, and releases everything. Idempotent.
   * Rejects with ERR_VERBENA_CLEANUP when something could not be released.
   */
  close(): Promise<void>;
  /** `drain`, then `close`. */
  [Symbol.asyncDispose](): Promise<void>;
}

let serversMade = 0;

function increment(counts: Record<string, number>, code: string): void {
  counts[code] = (counts[code] ?? 0) + 1;
}

function capacityFor({ attributes, pinsMemory }: Device, options: ResolvedServerOptions): Capacity {
  const { slots, slotBytes, regionBytes } = options;
  return capacityOf({
    options,
    attributes,
    system: readSystemLimits(pinsMemory),
    sessionBytes: ringsBytes({ slots, slotBytes, withScratch: false }) + regionBytes,
  });
}

class RunningServer extends EventEmitter<ServerEvents> implements Server {
  readonly #lease: DeviceLease;
  readonly #device: Device;
  readonly capacity: Capacity;
  readonly #options: ResolvedServerOptions;
  readonly #host: SessionHost;
  readonly #gid: GidChoice;
  readonly #listener: Listener;
  /** Being set up, and set up. */
  readonly #pending = new Set<ServerSession>();
  readonly #sessions = new Set<ServerSession>();
  readonly #refused: Record<string, number> = {};
  readonly #ended: Record<string, number> = {};
  readonly #failures: unknown[] = [];
  #accepted = 0;
  #state: ServerState = 'listening';
  #emptyWaiters: (() => void)[] = [];
  #closing: Promise<void> | undefined;

  constructor(
    lease: DeviceLease,
    raw: ServerOptions,
    options: ResolvedServerOptions,
    psnSource: () => number,
  ) {
    super();
    this.#lease = lease;
    this.#device = lease.device;
    this.#options = options;
    this.capacity = capacityFor(lease.device, options);
    const port = lease.device.choosePort(options.devicePort);
    // Fails now rather than at the first client, when there is no address at all.
    this.#gid = lease.device.chooseGid(port.port, { index: options.gidIndex });
    this.#host = this.#makeHost(port, new PsnSet(psnSource));
    this.#listener = new Listener({
      tls: serverTlsOptions({
        cert: raw.cert,
        key: raw.key,
        ca: raw.ca,
        requestCert: raw.requestCert,
        handshakeTimeoutMs: options.handshakeTimeoutMs,
      }),
      handshakeTimeoutMs: options.handshakeTimeoutMs,
      maxPending: options.maxPendingHandshakes,
      onSecure: (socket, pending) => this.#onSecure(socket, pending),
      onRefused: (cause) => {
        const message = `a peer did not get through TLS: ${messageOf(cause)}`;
        this.#onRefused(new VerbenaError('ERR_VERBENA_TLS', message, { cause }));
      },
    });
  }

  async listen(): Promise<void> {
    await this.#listener.listen(this.#options.host, this.#options.port);
    this.#listener.onError((cause) => {
      const message = `the listening socket failed: ${messageOf(cause)}`;
      this.#report(new VerbenaError('ERR_VERBENA_LISTEN', message, { cause }));
    });
  }

  get deviceName(): string {
    return this.#device.name;
  }

  get state(): ServerState {
    return this.#state;
  }

  address(): AddressInfo {
    return this.#listener.address();
  }

  sessions(): Session[] {
    return [...this.#sessions];
  }

  snapshot(): ServerSnapshot {
    const { registry } = this.#device;
    return {
      device: this.deviceName,
      port: this.#host.port.port,
      gid: {
        index: this.#gid.index,
        address: gidText(this.#gid.gid),
        reason: this.#gid.reason,
      },
      state: this.#state,
      capacity: this.capacity,
      sessions: [...this.#sessions].map((session) => ({
        id: session.id,
        name: session.name,
        remoteAddress: session.remoteAddress,
        qpn: session.qpn,
        localPsn: session.localPsn,
        remotePsn: session.remotePsn,
        isOpen: session.isOpen,
        requestsInWork: session.requestsInWork,
      })),
      pendingHandshakes: this.#listener.pending,
      resources: registry.snapshot(),
      tree: registry.tree(),
      registeredBytes: registry.bytes,
      pool: this.#device.poolStats(),
    };
  }

  stats(): ServerStats {
    return {
      accepted: this.#accepted,
      refused: { ...this.#refused },
      ended: { ...this.#ended },
      traffic: { ...this.#host.traffic },
      pollGroup: this.#state === 'closed' ? undefined : this.#device.group.stats(),
    };
  }

  async drain(timeoutMs = this.#options.drainTimeoutMs): Promise<void> {
    numberOption('timeoutMs', timeoutMs, 0, { min: 0, max: MAX_DRAIN_MS });
    if (this.#state === 'listening') this.#state = 'draining';
    for (const session of this.#pending) session.failSetup(drainingError());
    for (const session of this.#sessions) session.sendDrain(Math.ceil(timeoutMs));
    await within(this.#empty(), timeoutMs);
    await Promise.all([...this.#sessions].map((session) => session.close()));
    await this.#empty();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing === undefined) await this.drain();
    await this.close();
  }

  async #close(): Promise<void> {
    this.#state = 'closing';
    const reason = drainingError();
    const listenerClosed = this.#listener.close();
    await Promise.all([...this.#pending].map((session) => session.abort(reason)));
    await Promise.all([...this.#sessions].map((session) => session.closeNow(reason)));
    await this.#empty();
    await listenerClosed;
    this.#failures.push(...this.#lease.release());
    this.#state = 'closed';
    const failure = cleanupError('closing the server', this.#failures);
    if (failure !== undefined) throw failure;
  }

  #makeHost(port: PortChoice, psns: PsnSet): SessionHost {
    const isDraining = (): boolean => this.#state !== 'listening';
    return {
      ownerPrefix: `server-${++serversMade}`,
      device: this.#device,
      port,
      options: this.#options,
      slots: new SlotMap(this.capacity.clients),
      psns,
      traffic: newTrafficStats(),
      get isDraining() {
        return isDraining();
      },
      onSessionReady: (session) => this.#onReady(session),
      onSetupFailed: (session, error, failures) => {
        this.#onCleanedUp(failures);
        this.#onRefused(error);
        this.#forget(session);
      },
      onSessionEnded: (session, reason, failures) => {
        this.#onCleanedUp(failures);
        increment(this.#ended, reason.code);
        this.#forget(session);
        this.emit('sessionEnd', session, reason);
      },
      onHandlerError: (session, error) => this.emit('requestError', session, error),
    };
  }

  #onSecure(socket: TLSSocket, pending: PendingSocket): void {
    const session = new ServerSession(this.#host, socket, () => pending.done());
    this.#pending.add(session);
    pending.onDeadline = () => {
      const { handshakeTimeoutMs } = this.#options;
      const message = `the set-up was not finished within ${handshakeTimeoutMs} ms`;
      session.failSetup(new VerbenaError('ERR_VERBENA_HANDSHAKE_TIMEOUT', message), true);
    };
    session.start();
  }

  #onReady(session: ServerSession): void {
    this.#accepted++;
    this.#pending.delete(session);
    this.#sessions.add(session);
    this.emit('session', session);
  }

  #onRefused(error: VerbenaError): void {
    increment(this.#refused, error.code);
    this.emit('refused', error);
  }

  #onCleanedUp(failures: unknown[]): void {
    const failure = cleanupError('releasing a session', failures);
    if (failure === undefined) return;
    this.#failures.push(failure);
    this.#report(failure);
  }

  #forget(session: ServerSession): void {
    this.#pending.delete(session);
    this.#sessions.delete(session);
    if (this.#pending.size + this.#sessions.size > 0) return;
    for (const wake of this.#emptyWaiters.splice(0)) wake();
  }

  // Nobody listening for 'error' must not end the process over a clean-up step.
  #report(error: VerbenaError): void {
    if (this.listenerCount('error') > 0) this.emit('error', error);
    else process.emitWarning(error);
  }

  #empty(): Promise<void> {
    if (this.#pending.size + this.#sessions.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#emptyWaiters.push(resolve));
  }

  /** Undoes the constructor when listening failed. */
  abandon(): unknown[] {
    this.#state = 'closed';
    return this.#lease.release();
  }
}

/** `createServer` with its source of packet sequence numbers open to tests. */
export async function createServerWith(
  options: ServerOptions,
  psnSource: () => number,
): Promise<Server> {
  const resolved = resolveServerOptions(options);
  const lease = acquireDevice(options);
  let server: RunningServer;
  try {
    server = new RunningServer(lease, options, resolved, psnSource);
  } catch (error) {
    lease.release();
    throw toVerbenaError(error, 'ERR_VERBENA_INTERNAL');
  }
  try {
    await server.listen();
  } catch (error) {
    server.abandon();
    throw error;
  }
  return server;
}

/**
 * Starts a server: opens the device, listens for TLS. Rejects with a VerbenaError whose message
 * says what to do: ERR_VERBENA_INVALID_OPTION, ERR_VERBENA_UNKNOWN_DEVICE,
 * ERR_VERBENA_PORT_NOT_ACTIVE, ERR_VERBENA_NO_GID, ERR_VERBENA_TLS, ERR_VERBENA_LISTEN,
 * ERR_VERBENA_ADDON, ERR_VERBENA_LIBRARY.
 */
export function createServer(options: ServerOptions): Promise<Server> {
  return createServerWith(options, drawPsn);
}
