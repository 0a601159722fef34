// Runs the demo: one server process, N client processes, and the account of what they did.
import { ManagedProcess, settlesWithin } from '../../processes/managed-process.js';
import { addObjects, noObjects, type LiveObjects } from '../../processes/live-objects.js';
import { OwnServer } from '../../stress/own-server.js';
import { percentile } from '../../stress/percentile.js';
import { makeDevCertificate } from '../dev-certificate.js';
import type { ClientOrders, FromClient, ToClient } from './messages.js';
import type { DemoResult } from './result.js';
import type { ClientState, View } from './view.js';

export interface DemoOptions {
  readonly device: string;
  readonly clients: number;
  readonly requests: number;
  readonly largeBytes: number;
  /** Stops everything. */
  readonly signal: AbortSignal;
}

const clientTimeoutMs = 120_000;

type ClientProcess = ManagedProcess<ToClient, FromClient>;

/** Clocks are not finer than that. */
function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

/** One run of the demo. `clients` may be watched while it runs. */
export class Demo {
  readonly clients: ClientState[];
  /** What went wrong, one sentence each. */
  readonly errors: string[] = [];

  readonly #processes = new Set<ClientProcess | OwnServer['process']>();
  readonly #latenciesUs: number[] = [];
  /** `client PSN-server PSN` of each session, as the clients and as the server tell them. */
  readonly #clientPairs: string[] = [];
  readonly #serverPairs = new Set<string>();
  #server: OwnServer | undefined;
  #leaked: LiveObjects = noObjects;
  #view: View | undefined;

  constructor(private readonly options: DemoOptions) {
    this.clients = Array.from({ length: options.clients }, (_, index) => ({
      name: `client${index}`,
      phase: 'starting',
      requests: 0,
      bytesVerified: 0,
    }));
  }

  /** Runs to the end and resolves with the result; no process is left when it does. */
  async run(view: View): Promise<DemoResult> {
    this.#view = view;
    const stopAll = (): void => {
      this.errors.push('interrupted');
      for (const process of this.#processes) void process.stop();
    };
    this.options.signal.addEventListener('abort', stopAll);
    let seconds: number;
    try {
      const certificate = await makeDevCertificate();
      const server = await this.#startServer(certificate);
      const started = performance.now();
      await Promise.all(this.clients.map((state) => this.#runClient(state, certificate.ca)));
      seconds = (performance.now() - started) / 1000;
      await server.finish();
      this.#leaked = addObjects(this.#leaked, server.leaked ?? noObjects);
    } finally {
      this.options.signal.removeEventListener('abort', stopAll);
      await Promise.all([...this.#processes].map((process) => process.stop()));
      view.end();
    }
    return this.#result(seconds);
  }

  #track(what: string, process: ClientProcess | OwnServer['process']): void {
    this.#processes.add(process);
    void process.ended.then((how) => {
      this.#processes.delete(process);
      if (how === undefined || this.options.signal.aborted) return;
      const said = process.output === '' ? '' : ` (its last words: ${process.output})`;
      this.errors.push(`${what} ${how}${said}`);
    });
  }

  async #startServer(certificate: { cert: string; key: string }): Promise<OwnServer> {
    const { device, clients, largeBytes } = this.options;
    const { cert, key } = certificate;
    const server = new OwnServer(
      { device, cert, key, maxConnections: clients, maxPayloadBytes: largeBytes },
      {
        onSessionStarted: (_, localPsn, remotePsn) => {
          this.#serverPairs.add(`${remotePsn}-${localPsn}`);
        },
        onSessionEnded: () => undefined,
        onRefused: () => undefined,
        onProblem: (problem) => this.errors.push(problem),
      },
    );
    this.#server = server;
    this.#track('the server', server.process);
    await server.started();
    return server;
  }

  async #runClient(state: ClientState, ca: string): Promise<void> {
    const port = this.#server?.port;
    if (port === undefined || this.options.signal.aborted) {
      this.#setPhase(state, 'failed');
      return;
    }
    const client: ClientProcess = new ManagedProcess(
      new URL('client-process.js', import.meta.url),
      (message: FromClient) => this.#onClientMessage(state, message),
    );
    this.#track(state.name, client);
    const { name } = state;
    const { device, requests, largeBytes } = this.options;
    const orders: ClientOrders = { name, device, port, ca, requests, largeBytes };
    client.send({ type: 'start', orders });
    if (!(await settlesWithin(client.ended, clientTimeoutMs))) {
      this.errors.push(`${state.name} did not finish within ${clientTimeoutMs / 1000} s`);
      await client.stop();
    }
    if (state.phase !== 'left') this.#setPhase(state, 'failed');
  }

  #onClientMessage(state: ClientState, message: FromClient): void {
    switch (message.type) {
      case 'connected':
        this.#clientPairs.push(`${message.localPsn}-${message.remotePsn}`);
        this.#setPhase(state, 'connected');
        return;
      case 'progress':
        state.requests = message.requests;
        state.bytesVerified = message.bytesVerified;
        this.#setPhase(state, 'working');
        return;
      case 'done':
        state.requests = message.requests;
        state.bytesVerified = message.bytesVerified;
        this.#latenciesUs.push(...message.latenciesUs);
        this.#leaked = addObjects(this.#leaked, message.live);
        this.#setPhase(state, 'left');
        return;
      case 'failed':
        this.errors.push(`${state.name}: ${message.message}`);
        this.#leaked = addObjects(this.#leaked, message.live);
        this.#setPhase(state, 'failed');
    }
  }

  #setPhase(state: ClientState, phase: ClientState['phase']): void {
    state.phase = phase;
    this.#view?.update();
  }

  #result(seconds: number): DemoResult {
    const requests = this.clients.reduce((sum, client) => sum + client.requests, 0);
    const agreed = this.#clientPairs.filter((pair) => this.#serverPairs.has(pair));
    const sorted = this.#latenciesUs.sort((a, b) => a - b);
    return {
      device: this.#server?.device ?? 'none',
      clients: this.options.clients,
      connected: this.#clientPairs.length,
      uniquePsns: new Set(agreed).size,
      requests,
      errors: this.errors.length,
      bytesVerified: this.clients.reduce((sum, client) => sum + client.bytesVerified, 0),
      latencyUs: { p50: tenths(percentile(sorted, 0.5)), p99: tenths(percentile(sorted, 0.99)) },
      requestsPerSecond: seconds === 0 ? 0 : tenths(requests / seconds),
      leaked: this.#leaked,
    };
  }
}
