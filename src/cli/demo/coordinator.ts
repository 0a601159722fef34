// Runs the demo: one server process, N client processes, and the account of what they did.
import { makeDevCertificate } from '../dev-certificate.js';
import type {
  ClientOrders,
  FromClient,
  FromServer,
  LiveObjects,
  ToClient,
  ToServer,
} from './messages.js';
import { DemoProcess } from './processes.js';
import { addObjects, noObjects, percentile, type DemoResult } from './result.js';
import type { ClientState, View } from './view.js';

export interface DemoOptions {
  readonly clients: number;
  readonly requests: number;
  readonly largeBytes: number;
  /** Stops everything. */
  readonly signal: AbortSignal;
}

const listenTimeoutMs = 15_000;
const clientTimeoutMs = 120_000;
const reportTimeoutMs = 15_000;

type ServerProcess = DemoProcess<ToServer, FromServer>;
type ClientProcess = DemoProcess<ToClient, FromClient>;

/** Resolves with true when `promise` settles in time, else with false. */
async function settlesWithin(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Clocks are not finer than that. */
function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

/** One run of the demo. `clients` may be watched while it runs. */
export class Demo {
  readonly clients: ClientState[];
  /** What went wrong, one sentence each. */
  readonly errors: string[] = [];

  readonly #processes = new Set<ServerProcess | ClientProcess>();
  readonly #latenciesUs: number[] = [];
  /** `client PSN-server PSN` of each session, as the clients and as the server tell them. */
  readonly #clientPairs: string[] = [];
  readonly #serverPairs = new Set<string>();
  #device = 'none';
  #port: number | undefined;
  #leaked: LiveObjects = noObjects;
  #reported = false;
  #onListening: () => void = () => undefined;
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
      await this.#finishServer(server);
    } finally {
      this.options.signal.removeEventListener('abort', stopAll);
      await Promise.all([...this.#processes].map((process) => process.stop()));
      view.end();
    }
    return this.#result(seconds);
  }

  #track<T extends ServerProcess | ClientProcess>(what: string, process: T): T {
    this.#processes.add(process);
    void process.ended.then((how) => {
      this.#processes.delete(process);
      if (how === undefined || this.options.signal.aborted) return;
      const said = process.output === '' ? '' : ` (its last words: ${process.output})`;
      this.errors.push(`${what} ${how}${said}`);
    });
    return process;
  }

  async #startServer(certificate: { cert: string; key: string }): Promise<ServerProcess> {
    const listening = new Promise<void>((resolve) => (this.#onListening = resolve));
    const server: ServerProcess = new DemoProcess('server-process.js', (message: FromServer) =>
      this.#onServerMessage(message),
    );
    this.#track('the server', server);
    server.send({
      type: 'start',
      orders: {
        cert: certificate.cert,
        key: certificate.key,
        maxConnections: this.options.clients,
        maxPayloadBytes: this.options.largeBytes,
      },
    });
    const inTime = await settlesWithin(Promise.race([listening, server.ended]), listenTimeoutMs);
    if (!inTime) this.errors.push(`the server did not listen within ${listenTimeoutMs / 1000} s`);
    return server;
  }

  #onServerMessage(message: FromServer): void {
    switch (message.type) {
      case 'listening':
        this.#device = message.device;
        this.#port = message.port;
        this.#onListening();
        return;
      case 'sessionStarted':
        this.#serverPairs.add(`${message.remotePsn}-${message.localPsn}`);
        return;
      case 'report':
        this.#reported = true;
        this.#leaked = addObjects(this.#leaked, message.afterSessions);
        this.#leaked = addObjects(this.#leaked, message.atEnd);
        return;
      case 'failed':
        this.errors.push(`server: ${message.message}`);
    }
  }

  async #runClient(state: ClientState, ca: string): Promise<void> {
    if (this.#port === undefined || this.options.signal.aborted) {
      this.#setPhase(state, 'failed');
      return;
    }
    const client: ClientProcess = new DemoProcess('client-process.js', (message: FromClient) =>
      this.#onClientMessage(state, message),
    );
    this.#track(state.name, client);
    const { requests, largeBytes } = this.options;
    const orders: ClientOrders = { name: state.name, port: this.#port, ca, requests, largeBytes };
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

  async #finishServer(server: ServerProcess): Promise<void> {
    server.send({ type: 'finish' });
    if (!(await settlesWithin(server.ended, reportTimeoutMs))) {
      this.errors.push(`the server did not end within ${reportTimeoutMs / 1000} s`);
    }
    if (!this.#reported) this.errors.push('the server did not report what it still held');
  }

  #result(seconds: number): DemoResult {
    const requests = this.clients.reduce((sum, client) => sum + client.requests, 0);
    const agreed = this.#clientPairs.filter((pair) => this.#serverPairs.has(pair));
    const sorted = this.#latenciesUs.sort((a, b) => a - b);
    return {
      device: this.#device,
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
