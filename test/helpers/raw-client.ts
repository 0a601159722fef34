// A client that speaks the control channel by hand, so that a test can get every step of it wrong.
import { connect as tcpConnect, type Socket } from 'node:net';
import { connect as tlsConnect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import {
  Endpoint,
  RECEIVE_BIT,
  openQueuePair,
  type EndpointUser,
} from '../../src/connection/endpoint.js';
import { newTrafficStats } from '../../src/connection/traffic-stats.js';
import { FrameReader, MAX_FRAME_BYTES, encodeFrame } from '../../src/handshake/frame.js';
import type { Hello, Welcome } from '../../src/handshake/messages.js';
import { exportProofKey, makeProof } from '../../src/handshake/proof.js';
import { Access } from '../../src/native/addon.js';
import { acquireDevice } from '../../src/rdma/device.js';
import type { Server } from '../../src/index.js';
import { testDevice } from './environment.js';
import { testCertificate } from './verbena.js';

export interface RawMessage {
  readonly type: string;
  readonly code?: string;
  readonly families?: string[];
  readonly retryAfterMs?: number;
  readonly message?: string;
}

export const plainHello: Hello = {
  type: 'hello',
  version: 1,
  name: 'raw',
  slots: 16,
  slotBytes: 4096,
  maxPayloadBytes: 65_536,
  endpoint: {
    qpn: 0x1234,
    psn: 0x56_789a,
    gid: '00000000000000000000ffff7f000001',
    lid: 0,
    mtu: 1024,
    maxRdAtomic: 16,
    maxDestRdAtomic: 16,
  },
};

export class RawClient {
  readonly socket: TLSSocket;
  /** Resolves with the time of the end of the socket, of `performance.now()`. */
  readonly closed: Promise<number>;
  readonly #received: { message: RawMessage; raw: Buffer }[] = [];
  #waiters: (() => void)[] = [];
  #isClosed = false;

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    const reader = new FrameReader(MAX_FRAME_BYTES);
    socket.on('data', (chunk: Buffer) => {
      reader.push(chunk, (raw) => {
        this.#received.push({ message: JSON.parse(raw.toString()) as RawMessage, raw });
        return true;
      });
      this.#wake();
    });
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#isClosed = true;
        this.#wake();
        resolve(performance.now());
      });
    });
  }

  static async connect(server: Server, options: ConnectionOptions = {}): Promise<RawClient> {
    const { ca } = await testCertificate();
    const { port } = server.address();
    const socket = tlsConnect({
      host: '127.0.0.1',
      port,
      ca,
      ALPNProtocols: ['verbena/1'],
      ...options,
    });
    const client = new RawClient(socket);
    await new Promise((resolve, reject) => {
      socket.once('secureConnect', resolve);
      socket.once('error', reject);
    });
    return client;
  }

  send(message: object): Buffer {
    return this.sendBody(Buffer.from(JSON.stringify(message)));
  }

  sendBody(body: Buffer): Buffer {
    this.socket.write(encodeFrame(body));
    return body;
  }

  /** The next message; rejects when the socket ends without one. */
  async next(): Promise<{ message: RawMessage; raw: Buffer }> {
    while (this.#received.length === 0) {
      if (this.#isClosed) throw new Error('the server ended the connection without a message');
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
    return this.#received.shift() as { message: RawMessage; raw: Buffer };
  }

  /** Resolves with the server's refusal, once it has also ended the connection. */
  async refusal(): Promise<RawMessage> {
    const { message } = await this.next();
    await this.closed;
    return message;
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }
}

/** A bare TCP connection, before TLS. */
export async function rawSocket(
  server: Server,
): Promise<{ socket: Socket; closed: Promise<number> }> {
  const socket = tcpConnect(server.address().port, '127.0.0.1');
  socket.on('error', () => undefined);
  const closed = new Promise<number>((resolve) => {
    socket.once('close', () => resolve(performance.now()));
  });
  await new Promise((resolve) => socket.once('connect', resolve));
  return { socket, closed };
}

/** The RDMA side of a hand-made client: a real queue pair, whose messages the test chooses. */
export class RawEndpoint {
  readonly endpoint: Endpoint;
  readonly hello: Hello;
  readonly helloRaw: Buffer;
  readonly welcome: Welcome;
  readonly welcomeRaw: Buffer;
  readonly #client: RawClient;
  readonly #release: () => void;

  private constructor(fields: {
    endpoint: Endpoint;
    hello: Hello;
    helloRaw: Buffer;
    welcome: Welcome;
    welcomeRaw: Buffer;
    client: RawClient;
    release: () => void;
  }) {
    this.endpoint = fields.endpoint;
    this.hello = fields.hello;
    this.helloRaw = fields.helloRaw;
    this.welcome = fields.welcome;
    this.welcomeRaw = fields.welcomeRaw;
    this.#client = fields.client;
    this.#release = fields.release;
  }

  /** Says hello, hears the welcome, and connects the queue pair; the proof is the test's. */
  static async open(client: RawClient, user: Partial<EndpointUser> = {}): Promise<RawEndpoint> {
    const lease = acquireDevice({ device: testDevice });
    const { device } = lease;
    const port = device.choosePort();
    const gid = device.chooseGid(port.port);
    const owner = `raw-${String(Math.random())}`;
    const qp = openQueuePair(device, { owner, port, slots: 16, access: Access.remoteRead });
    const psn = Math.floor(Math.random() * 2 ** 24);
    const hello = {
      ...plainHello,
      endpoint: { ...plainHello.endpoint, qpn: qp.qpn, psn, gid: gid.gid },
    };
    const helloRaw = client.send(hello);
    const { message, raw } = await client.next();
    if (message.type !== 'welcome') throw new Error(`the server said ${message.type}`);
    const welcome = message as unknown as Welcome;
    const endpoint = new Endpoint(
      qp,
      {
        slots: welcome.slots,
        slotBytes: welcome.slotBytes,
        stats: newTrafficStats(),
      },
      {
        onMessage: () => undefined,
        onImmediate: () => undefined,
        onWritable: () => undefined,
        onFailure: () => undefined,
        ...user,
      },
    );
    endpoint.connect({
      remote: welcome.endpoint,
      localPsn: psn,
      gid,
      mtu: welcome.mtu,
      maxRdAtomic: 16,
      maxDestRdAtomic: 16,
    });
    const release = (): void => {
      lease.release();
    };
    return new RawEndpoint({
      endpoint,
      hello,
      helloRaw,
      welcome,
      welcomeRaw: raw,
      client,
      release,
    });
  }

  /** The proof that the server expects. */
  proof(): Buffer {
    const key = exportProofKey(this.#client.socket);
    return makeProof(key, 'client', this.helloRaw, this.welcomeRaw);
  }

  async close(): Promise<void> {
    this.endpoint.stop();
    await this.endpoint.qp.close();
    this.#release();
  }
}

/** Never posts a receive again, hence never returns a credit. */
export function keepCredits({ endpoint }: RawEndpoint): void {
  endpoint.qp.user = {
    onCompletion: (wrId, ...rest) => {
      if (wrId < RECEIVE_BIT) endpoint.onCompletion(wrId, ...rest);
    },
    onDeviceEvent: () => undefined,
  };
}
