// The admin port: metrics, health, readiness and status over HTTP, for whoever can reach it.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { BlockList, isIP, isIPv6, type AddressInfo } from 'node:net';
import { integerOption, stringOption } from '../connection/option-checks.js';
import { messageOf, VerbenaError } from '../errors.js';
import { metricsOf, type Metrics } from '../metrics/metrics.js';
import { listenError } from '../server/listener.js';
import type { Server } from '../server/api.js';
import { readAssets, type Asset } from './assets.js';
import { Live } from './live.js';
import { statusOf } from './status.js';

export interface AdminOptions {
  /** TCP port; 0 (default) takes a free one, see `url`. */
  readonly port?: number | undefined;
  /**
   * Address to listen on; default `'127.0.0.1'`. There is no authentication: whoever reaches it
   * sees the clients' names and addresses.
   */
  readonly host?: string | undefined;
}

/** A running admin port; see `startAdmin`. */
export interface AdminServer extends AsyncDisposable {
  /** Where the status page is, such as `http://127.0.0.1:9464/`. */
  readonly url: string;
  address(): AddressInfo;
  /** Idempotent. Happens by itself when the server closes. */
  close(): Promise<void>;
}

const REQUEST_TIMEOUT_MS = 5000;
const MAX_HEADER_BYTES = 8192;
const MAX_CONNECTIONS = 64;

const commonHeaders = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

function isLoopback(address: string): boolean {
  return loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}

type Route = (response: ServerResponse) => void | Promise<void>;

function send(response: ServerResponse, status: number, type: string, body: string | Buffer): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}

function sendText(response: ServerResponse, status: number, text: string): void {
  send(response, status, 'text/plain; charset=utf-8', `${text}\n`);
}

/** Undefined while new clients are taken. */
function whyNotReady(server: Server): string | undefined {
  if (server.state !== 'listening') return `not ready: ${server.state}`;
  const { isActive, reasons } = server.stats().loadShedding;
  return isActive ? `not ready: shedding load (${reasons.join(', ')})` : undefined;
}

function routesOf(
  server: Server,
  metrics: Metrics,
  live: Live,
  assets: ReadonlyMap<string, Asset>,
): ReadonlyMap<string, Route> {
  const pages = [...assets].map(([path, { type, body }]): [string, Route] => [
    path,
    (response) => send(response, 200, type, body),
  ]);
  return new Map<string, Route>([
    ...pages,
    [
      '/metrics',
      async (response) => send(response, 200, metrics.contentType, await metrics.text()),
    ],
    ['/healthz', (response) => sendText(response, 200, 'ok')],
    [
      '/readyz',
      (response) => {
        const why = whyNotReady(server);
        sendText(response, why === undefined ? 200 : 503, why ?? 'ready');
      },
    ],
    [
      '/status.json',
      async (response) => {
        const status = JSON.stringify(await statusOf(server));
        send(response, 200, 'application/json', `${status}\n`);
      },
    ],
    ['/events', (response) => sendEvents(response, live)],
  ]);
}

function sendEvents(response: ServerResponse, live: Live): void {
  if (response.req.method === 'HEAD') {
    send(response, 200, 'text/event-stream', '');
    return;
  }
  response.setHeader('Content-Type', 'text/event-stream');
  if (live.add(response)) return;
  response.setHeader('Retry-After', '60');
  sendText(response, 503, 'too many status pages are open');
}

class RunningAdmin implements AdminServer {
  readonly #http = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: REQUEST_TIMEOUT_MS,
  });
  readonly #live: Live;
  readonly #routes: ReadonlyMap<string, Route>;
  #isLocal = true;
  #closing: Promise<void> | undefined;

  constructor(server: Server, assets: ReadonlyMap<string, Asset>) {
    this.#live = new Live(server);
    this.#routes = routesOf(server, metricsOf(server), this.#live, assets);
    this.#http.maxConnections = MAX_CONNECTIONS;
    this.#http.on('request', (request, response) => void this.#answer(request, response));
    // Nobody to wait for: it must not keep a process that has nothing else to do.
    server.once('close', () => void this.close());
  }

  listen(host: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const onError = (cause: Error): void => {
        this.#live.close();
        reject(adminListenError(cause, host, port));
      };
      this.#http.once('error', onError);
      this.#http.listen({ host, port }, () => {
        this.#http.off('error', onError);
        this.#isLocal = isLoopback(this.address().address);
        resolve();
      });
    });
  }

  get url(): string {
    const { address, port } = this.address();
    return `http://${isIPv6(address) ? `[${address}]` : address}:${port}/`;
  }

  address(): AddressInfo {
    const address = this.#http.address();
    if (address !== null && typeof address === 'object') return address;
    throw new VerbenaError('ERR_VERBENA_CLOSED', 'the admin port is closed');
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#live.close();
      this.#http.close(() => resolve());
      this.#http.closeAllConnections();
    });
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(commonHeaders)) response.setHeader(name, value);
    try {
      if (!this.#isHostAllowed(request.headers.host)) {
        sendText(response, 403, 'use an address or localhost in place of that host name');
        return;
      }
      const route = this.#routes.get((request.url ?? '').replace(/\?.*/s, ''));
      if (route === undefined)
        sendText(response, 404, `there is no such page; try ${this.#paths()}`);
      else if (request.method === 'GET' || request.method === 'HEAD') await route(response);
      else {
        response.setHeader('Allow', 'GET, HEAD');
        sendText(response, 405, 'only GET and HEAD are answered here');
      }
    } catch (error) {
      if (response.headersSent) response.destroy();
      else sendText(response, 500, `this failed: ${messageOf(error)}`);
    }
  }

  /**
   * A web page that has its own name resolve to a loopback address could have a browser here read
   * us; its requests carry that name.
   */
  #isHostAllowed(host: string | undefined): boolean {
    if (!this.#isLocal || host === undefined) return true;
    const name = host.replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1');
    return name === 'localhost' || isIP(name) !== 0;
  }

  #paths(): string {
    return ['/', '/metrics', '/healthz', '/readyz', '/status.json'].join(', ');
  }
}

function adminListenError(cause: Error, host: string, port: number): VerbenaError {
  const { code, message } = listenError(cause, host, port);
  const hint = 'the admin port is chosen with `port` and `host` (--admin-port, --admin-host)';
  return new VerbenaError(code, `${message}; ${hint}`, { cause });
}

/** See `startAdmin`. */
export async function listenForAdmin(server: Server, options: AdminOptions): Promise<AdminServer> {
  const port = integerOption('port', options.port, 0, { min: 0, max: 65_535 });
  const host = stringOption('host', options.host, '127.0.0.1', 255);
  const assets = await readAssets();
  if (server.state === 'closed') {
    throw new VerbenaError('ERR_VERBENA_CLOSED', 'the server is closed, so it has no admin port');
  }
  const admin = new RunningAdmin(server, assets);
  await admin.listen(host, port);
  return admin;
}
