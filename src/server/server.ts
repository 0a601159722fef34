// The server: one device, one listener, many sessions; drain and close that leave nothing behind.
import { EventEmitter } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { LoadThresholds } from '../admission/load-shedder.js';
import { ringsBytes } from '../connection/endpoint.js';
import { numberOption } from '../connection/option-checks.js';
import type { RequestHandler } from '../connection/served-request.js';
import { within } from '../connection/within.js';
import { VerbenaError, cleanupError, messageOf, toVerbenaError } from '../errors.js';
import { PsnSet, drawPsn } from '../handshake/psn.js';
import { serverTlsOptions } from '../handshake/tls.js';
import { gidText, type GidChoice, type PortChoice } from '../rdma/addressing.js';
import type { DeviceCounters } from '../rdma/device-counters.js';
import { acquireDevice, type Device, type DeviceEvent, type DeviceLease } from '../rdma/device.js';
import { readSystemLimits } from '../rdma/system-limits.js';
import type { DataPlane } from '../workers/data-plane.js';
import type { Server, ServerEvents } from './api.js';
import { capacityOf, type Capacity } from './capacity.js';
import { Listener, type ListenerLimits, type PendingSocket } from './listener.js';
import { LoadWatch, processLoad, type LoadSource } from './load-watch.js';
import { planReload, type ReloadOptions, type ReloadResult } from './reload.js';
import { resolveServerOptions, type ResolvedServerOptions, type ServerOptions } from './options.js';
import { handlerOf, makePlane, sessionDataOptions } from './plane.js';
import { deviceFailedError, drainingError, refusalIn, workerDrainingError } from './refusal.js';
import { ServerSession, type Session, type SessionHost } from './session.js';
import { SlotLine } from './slot-line.js';
import { SlotMap } from './slot-map.js';
import { Tally } from './tally.js';
import type { ServerSnapshot, ServerState, ServerStats } from './views.js';

const MAX_DRAIN_MS = 86_400_000;

let serversMade = 0;

function listenerLimitsOf(options: ResolvedServerOptions): ListenerLimits {
  return {
    handshakeTimeoutMs: options.handshakeTimeoutMs,
    maxPending: options.maxPendingHandshakes,
    ratePerAddress: options.connectionRatePerAddress,
  };
}

function tlsOptionsOf(raw: ServerOptions, { handshakeTimeoutMs }: ResolvedServerOptions) {
  const { cert, key, ca, requestCert } = raw;
  return serverTlsOptions({ cert, key, ca, requestCert, handshakeTimeoutMs });
}

function thresholdsOf(options: ResolvedServerOptions): LoadThresholds {
  return {
    cpu: options.cpuThresholdPercent,
    memory: options.memoryThresholdPercent,
    queue: options.queueThresholdPercent,
  };
}

function capacityFor({ attributes, pinsMemory }: Device, options: ResolvedServerOptions): Capacity {
  const { slots, slotBytes, regionBytes } = options;
  return capacityOf({
    options,
    attributes,
    system: readSystemLimits(pinsMemory),
    sessionBytes: ringsBytes({ slots, slotBytes }) + regionBytes,
  });
}

class RunningServer extends EventEmitter<ServerEvents> implements Server {
  readonly #lease: DeviceLease;
  readonly #device: Device;
  #capacity: Capacity;
  #raw: ServerOptions;
  /** One object for everybody who looks something up in it; `reload` changes what it holds. */
  readonly #options: ResolvedServerOptions;
  readonly #host: SessionHost;
  readonly #plane: DataPlane;
  readonly #stopWatching: () => void;
  readonly #gid: GidChoice;
  readonly #listener: Listener;
  readonly #load: LoadWatch;
  /** Being set up, and set up. */
  readonly #pending = new Set<ServerSession>();
  readonly #sessions = new Set<ServerSession>();
  readonly #tally = new Tally();
  readonly #failures: unknown[] = [];
  #state: ServerState = 'listening';
  #emptyWaiters: (() => void)[] = [];
  #closing: Promise<void> | undefined;

  constructor(
    lease: DeviceLease,
    raw: ServerOptions,
    options: ResolvedServerOptions,
    handler: RequestHandler<Session>,
    { psnSource = drawPsn, loadSource }: ServerSources,
  ) {
    super();
    this.#lease = lease;
    this.#device = lease.device;
    this.#raw = raw;
    this.#options = options;
    this.#capacity = capacityFor(lease.device, options);
    const port = lease.device.choosePort(options.devicePort);
    // Fails now rather than at the first client, when there is no address at all.
    this.#gid = lease.device.chooseGid(port.port, { index: options.gidIndex });
    this.#plane = this.#makePlane(port, raw, handler);
    this.#host = this.#makeHost(port, new PsnSet(psnSource));
    this.#listener = new Listener({
      tls: tlsOptionsOf(raw, options),
      limits: listenerLimitsOf(options),
      onSecure: (socket, pending) => this.#onSecure(socket, pending),
      onRefused: (cause) => {
        const message = `a peer did not get through TLS: ${messageOf(cause)}`;
        this.#onRefused(new VerbenaError('ERR_VERBENA_TLS', message, { cause }));
      },
    });
    // Last, for nobody stops them when the constructor throws.
    this.#load = new LoadWatch({
      thresholds: thresholdsOf(options),
      source: loadSource ?? this.#processLoad(),
      queue: this.#plane.queue,
      onChange: (change) => this.emit('load', change),
    });
    this.#stopWatching = lease.device.watch((event) => this.#onDeviceEvent(event));
  }

  async listen(): Promise<void> {
    await this.#plane.start();
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

  get capacity(): Capacity {
    return this.#capacity;
  }

  address(): AddressInfo {
    return this.#listener.address();
  }

  sessions(): Session[] {
    return [...this.#sessions];
  }

  snapshot(): ServerSnapshot {
    const { resources, tree } = this.#plane.objects();
    const { registeredBytes, pool } = this.#plane.counts();
    return {
      device: this.deviceName,
      port: this.#host.port.port,
      gid: {
        index: this.#gid.index,
        address: gidText(this.#gid.gid),
        reason: this.#gid.reason,
      },
      state: this.#state,
      capacity: this.#capacity,
      sessions: [...this.#sessions].map((session) => ({
        id: session.id,
        name: session.name,
        remoteAddress: session.remoteAddress,
        qpn: session.qpn,
        localPsn: session.localPsn,
        remotePsn: session.remotePsn,
        isOpen: session.isOpen,
        connectedAtMs: session.connectedAtMs,
        requestsInWork: session.requestsInWork,
        requestsAnswered: session.requestsAnswered,
        requestTimeMs: session.requestTimeMs,
        worker: session.worker,
        owner: session.owner,
      })),
      pendingHandshakes: this.#listener.pending,
      resources,
      tree,
      registeredBytes,
      pool,
    };
  }

  stats(): ServerStats {
    return {
      ...this.#plane.counts(),
      ...this.#tally.counts(),
      state: this.#state,
      connections: this.#sessions.size,
      pendingHandshakes: this.#listener.pending,
      turnedAway: this.#listener.turnedAway,
      droppedByRate: this.#listener.droppedByRate,
      connectionQueue: this.#host.line.stats(),
      loadShedding: this.#load.stats(),
      workers: this.#plane.workers(),
    };
  }

  async deviceCounters(): Promise<DeviceCounters> {
    return this.#state === 'closed' ? {} : this.#device.counters(this.#host.port.port);
  }

  refresh({ objects = true }: { readonly objects?: boolean } = {}): Promise<void> {
    return this.#plane.refresh(objects);
  }

  async drainWorker(worker: number, timeoutMs = this.#options.drainTimeoutMs): Promise<void> {
    numberOption('timeoutMs', timeoutMs, 0, { min: 0, max: MAX_DRAIN_MS });
    const isEmpty = this.#plane.drainWorker(worker);
    const isServed = (session: ServerSession): boolean => session.worker === worker;
    for (const session of [...this.#pending].filter(isServed)) {
      session.failSetup(workerDrainingError());
    }
    const sessions = [...this.#sessions].filter(isServed);
    for (const session of sessions) session.sendDrain(Math.ceil(timeoutMs));
    await within(isEmpty, timeoutMs);
    void this.#plane.endStuck(worker);
    await Promise.all(sessions.map((session) => session.close()));
    await isEmpty;
    this.#onCleanedUp(await this.#plane.renewWorker(worker));
  }

  reload(changes: ReloadOptions): ReloadResult {
    if (!this.#isOpen) {
      throw new VerbenaError('ERR_VERBENA_CLOSED', 'the server is about to stop, or has stopped');
    }
    const { raw, options, hasNewPem, result } = planReload(this.#raw, this.#options, changes);
    const capacity = capacityFor(this.#device, options);
    // Nothing throws after this, and nothing is changed before.
    if (hasNewPem) this.#listener.setTls(tlsOptionsOf(raw, options));
    this.#raw = raw;
    this.#capacity = capacity;
    Object.assign(this.#options, options);
    this.#listener.limits = listenerLimitsOf(options);
    this.#load.thresholds = thresholdsOf(options);
    this.#plane.queue.queueSize = options.queueSize;
    this.#plane.setOptions(sessionDataOptions(options));
    const { slots, line } = this.#host;
    slots.capacity = capacity.clients;
    line.resize(options.connectionQueueSize, options.connectionQueueTimeoutMs);
    line.serve();
    return result;
  }

  async drain(timeoutMs = this.#options.drainTimeoutMs): Promise<void> {
    numberOption('timeoutMs', timeoutMs, 0, { min: 0, max: MAX_DRAIN_MS });
    if (this.#isOpen) this.#state = 'draining';
    for (const session of this.#pending) session.failSetup(drainingError());
    for (const session of this.#sessions) session.sendDrain(Math.ceil(timeoutMs));
    await within(this.#empty(), timeoutMs);
    void this.#plane.endStuck();
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

  /** Neither failed nor about to stop. */
  get #isOpen(): boolean {
    return this.#state === 'listening' || this.#state === 'suspended';
  }

  #onDeviceEvent({ event, port }: DeviceEvent): void {
    if (event === 'DEVICE_FATAL') {
      if (this.#isOpen || this.#state === 'draining') this.#state = 'failed';
      this.#plane.retire();
      this.#report(deviceFailedError(this.deviceName));
      return;
    }
    if (port !== this.#host.port.port || !this.#isOpen) return;
    if (event === 'PORT_ERR') this.#setPort(false);
    else if (event === 'PORT_ACTIVE') this.#setPort(true);
  }

  #setPort(isActive: boolean): void {
    const state = isActive ? 'listening' : 'suspended';
    if (state === this.#state) return;
    this.#state = state;
    this.emit('port', isActive);
  }

  async #close(): Promise<void> {
    this.#state = 'closing';
    this.#stopWatching();
    this.#load.stop();
    this.#plane.retire();
    void this.#plane.endStuck();
    const reason = drainingError();
    const listenerClosed = this.#listener.close();
    await Promise.all([...this.#pending].map((session) => session.abort(reason)));
    await Promise.all([...this.#sessions].map((session) => session.closeNow(reason)));
    await this.#empty();
    await listenerClosed;
    this.#failures.push(...(await this.#plane.close()), ...this.#lease.release());
    this.#state = 'closed';
    this.emit('close');
    const failure = cleanupError('closing the server', this.#failures);
    if (failure !== undefined) throw failure;
  }

  #makePlane(port: PortChoice, raw: ServerOptions, handler: RequestHandler<Session>): DataPlane {
    return makePlane({
      ownerPrefix: `server-${++serversMade}`,
      device: this.#device,
      port,
      raw,
      options: this.#options,
      handler,
      onWorkerLost: (worker, reason) => this.emit('workerLost', worker, reason),
    });
  }

  #makeHost(port: PortChoice, psns: PsnSet): SessionHost {
    const slots = new SlotMap<ServerSession>(this.#capacity.clients);
    const { connectionQueueSize: size, connectionQueueTimeoutMs: timeoutMs } = this.#options;
    return {
      device: this.#device,
      port,
      options: this.#options,
      slots,
      line: new SlotLine({ size, timeoutMs, slots }),
      psns,
      place: (session, identity) => this.#plane.place(session, identity),
      resourcesOf: (owner) => this.#plane.resourcesOf(owner),
      refusal: () => refusalIn(this.#state, this.#device.name) ?? this.#load.refusal(),
      onQueuePairFailed: (error) => this.#tally.queuePairFailed(error),
      onSessionReady: (session) => this.#onReady(session),
      onSetupFailed: (session, error, failures) => {
        this.#onCleanedUp(failures);
        this.#onRefused(error);
        this.#forget(session);
      },
      onSessionEnded: (session, reason, failures) => {
        this.#onCleanedUp(failures);
        this.#tally.ended(reason);
        this.#forget(session);
        this.emit('sessionEnd', session, reason);
      },
      onHandlerError: (session, error) => this.emit('requestError', session, error),
    };
  }

  #processLoad(): LoadSource {
    const { queue } = this.#plane;
    return processLoad({
      spinMs: () => this.#device.group.stats().spinNs / 1e6,
      workersSpinMs: () => this.#plane.workersSpinMs,
      memoryBudgetBytes: () => this.#options.memoryBudgetBytes,
      queuePercent: () => (queue.pending * 100) / queue.queueSize,
    });
  }

  #onSecure(socket: TLSSocket, pending: PendingSocket): void {
    const session = new ServerSession(this.#host, socket, (isReady) => {
      if (isReady) this.#tally.accepted(pending.ageMs);
      pending.done();
    });
    this.#pending.add(session);
    pending.onDeadline = () => {
      const { handshakeTimeoutMs } = this.#options;
      const message = `the set-up was not finished within ${handshakeTimeoutMs} ms`;
      session.failSetup(new VerbenaError('ERR_VERBENA_HANDSHAKE_TIMEOUT', message), true);
    };
    if (pending.refusal === undefined) session.start();
    else session.failSetup(pending.refusal);
  }

  #onReady(session: ServerSession): void {
    this.#pending.delete(session);
    this.#sessions.add(session);
    this.emit('session', session);
  }

  #onRefused(error: VerbenaError): void {
    this.#tally.refused(error);
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
  async abandon(): Promise<unknown[]> {
    this.#state = 'closed';
    this.#stopWatching();
    this.#load.stop();
    return [...(await this.#plane.close()), ...this.#lease.release()];
  }
}

/** Where a server gets what tests want to decide. */
export interface ServerSources {
  /** Packet sequence numbers. */
  readonly psnSource?: () => number;
  readonly loadSource?: LoadSource;
}

/** `createServer` with its sources open to tests. */
export async function createServerWith(
  options: ServerOptions,
  sources: ServerSources,
): Promise<Server> {
  const resolved = resolveServerOptions(options);
  const handler = await handlerOf(resolved);
  const lease = acquireDevice(options);
  let server: RunningServer;
  try {
    server = new RunningServer(lease, options, resolved, handler, sources);
  } catch (error) {
    lease.release();
    throw toVerbenaError(error, 'ERR_VERBENA_INTERNAL');
  }
  try {
    await server.listen();
  } catch (error) {
    await server.abandon();
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
  return createServerWith(options, {});
}
