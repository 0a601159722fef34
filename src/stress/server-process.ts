// A server process: echoes requests, reports its sessions, what it uses and what it still holds.
import { messageOf } from '../errors.js';
import { createServer, type Server } from '../index.js';
import { countObjects, liveObjects, mostObjects } from '../processes/live-objects.js';
import { ParentLink } from '../processes/parent-link.js';
import type { FromServer, ServerOrders, ToServer } from './server-messages.js';
import { usageAtRest } from './usage.js';

const sessionsEndMs = 8000;
/** What belonged to a client that is gone is released within this. */
const releaseMs = 1000;

class EchoServer {
  readonly #link = new ParentLink<ToServer, FromServer>((message) => {
    void this.#obey(message).catch((error: unknown) => this.#fail(error));
  });
  #server: Server | undefined;
  /** Called when a client has left and everything of it is released. */
  #onRelease: () => void = () => undefined;

  async #obey(message: ToServer): Promise<void> {
    switch (message.type) {
      case 'start':
        await this.#start(message.orders);
        return;
      case 'usage': {
        const sessions = this.#server?.sessions().length ?? 0;
        await this.#link.send({ type: 'usage', usage: { ...(await usageAtRest()), sessions } });
        return;
      }
      case 'finish':
        await this.#finish();
    }
  }

  async #start(orders: ServerOrders): Promise<void> {
    const server = await createServer({
      ...orders,
      host: '127.0.0.1',
      port: 0,
      // Every request of a scenario is to be answered, however many clients it has.
      queueSize: 1_000_000,
      cpuThresholdPercent: 100,
      memoryThresholdPercent: 100,
      queueThresholdPercent: 100,
      handler: ({ payload }) => payload,
    });
    this.#server = server;
    const tell = (message: FromServer): void => void this.#link.send(message);
    server.on('session', ({ name, localPsn, remotePsn }) =>
      tell({ type: 'sessionStarted', name, localPsn, remotePsn }),
    );
    server.on('sessionEnd', ({ name }, { code }) => {
      tell({ type: 'sessionEnded', name, code });
      this.#onRelease();
    });
    server.on('refused', ({ code, message }) => {
      tell({ type: 'refused', code, message });
      this.#onRelease();
    });
    server.on('error', ({ message }) => tell({ type: 'failed', message }));
    const { port } = server.address();
    await this.#link.send({ type: 'listening', device: server.deviceName, port });
  }

  /** Resolves when the condition holds, looking whenever a client was released, or in the end. */
  async #released(condition: () => boolean, limitMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, limitMs);
      this.#onRelease = () => {
        if (!condition()) return;
        clearTimeout(late);
        resolve();
      };
      this.#onRelease();
    });
  }

  /** Waits for the sessions to end by themselves, so that what they leave behind is seen. */
  async #finish(): Promise<void> {
    await this.#released(() => this.#server?.sessions().length === 0, sessionsEndMs);
    await this.#released(() => countObjects(liveObjects()) === 0, releaseMs);
    const afterSessions = liveObjects();
    try {
      await this.#server?.close();
    } catch (error) {
      await this.#link.send({ type: 'failed', message: messageOf(error) });
    }
    await this.#link.send({ type: 'report', leaked: mostObjects(afterSessions, liveObjects()) });
    process.exit(0);
  }

  async #fail(error: unknown): Promise<void> {
    await this.#link.send({ type: 'failed', message: messageOf(error) });
    process.exit(1);
  }
}

new EchoServer();
