// The demo's server process: echoes requests, reports its sessions and what it still holds.
import { messageOf } from '../../errors.js';
import { createServer, type Server } from '../../index.js';
import { loadAddon } from '../../native/load.js';
import { ParentLink } from './child.js';
import type { FromServer, LiveObjects, ServerOrders, ToServer } from './messages.js';

const sessionsEndMs = 8000;

function liveObjects(): LiveObjects {
  const { pd, cq, qp, mr } = loadAddon().liveObjects();
  return { pd, cq, qp, mr };
}

class DemoServer {
  readonly #link = new ParentLink<ToServer, FromServer>((message) => {
    void this.#obey(message).catch((error: unknown) => this.#fail(error));
  });
  #server: Server | undefined;
  #sessions = 0;
  #onIdle: () => void = () => undefined;

  async #obey(message: ToServer): Promise<void> {
    if (message.type === 'start') await this.#start(message.orders);
    else await this.#finish();
  }

  async #start(orders: ServerOrders): Promise<void> {
    const server = await createServer({
      device: 'soft',
      host: '127.0.0.1',
      port: 0,
      cert: orders.cert,
      key: orders.key,
      maxConnections: orders.maxConnections,
      maxPayloadBytes: orders.maxPayloadBytes,
      handler: ({ payload }) => payload,
    });
    this.#server = server;
    server.on('session', ({ localPsn, remotePsn }) => {
      this.#sessions += 1;
      void this.#link.send({ type: 'sessionStarted', localPsn, remotePsn });
    });
    server.on('sessionEnd', () => {
      this.#sessions -= 1;
      if (this.#sessions === 0) this.#onIdle();
    });
    server.on('error', (error) => void this.#link.send({ type: 'failed', message: error.message }));
    const { port } = server.address();
    await this.#link.send({ type: 'listening', device: server.deviceName, port });
  }

  /** Waits for the sessions to end by themselves, so that what they leave behind is seen. */
  async #finish(): Promise<void> {
    if (this.#sessions > 0) {
      await new Promise<void>((resolve) => {
        const late = setTimeout(resolve, sessionsEndMs);
        this.#onIdle = () => {
          clearTimeout(late);
          resolve();
        };
      });
    }
    const afterSessions = liveObjects();
    await this.#server?.close();
    await this.#link.send({ type: 'report', afterSessions, atEnd: liveObjects() });
    process.exit(0);
  }

  async #fail(error: unknown): Promise<void> {
    await this.#link.send({ type: 'failed', message: messageOf(error) });
    process.exit(1);
  }
}

new DemoServer();
