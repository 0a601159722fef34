// The peers: how each serves requests and how a client asks. `answer` makes a response of a request;
// every payload is a Buffer or Uint8Array.
import { once } from 'node:events';
import { connect as netConnect, createServer as createNetServer } from 'node:net';
import { connect as tlsConnect, createServer as createTlsServer } from 'node:tls';
import {
  allocate,
  connect as verbenaConnect,
  createServer as createVerbena,
  release,
} from '../../dist/index.js';
import { frameClient, serveFrames } from './frames.mjs';

const HOST = '127.0.0.1';
/** What does not fit into a message has memory of its own. */
const LARGE_BYTES = 4096;

async function listen(server) {
  server.listen(0, HOST);
  await once(server, 'listening');
  return server.address().port;
}

const verbena = {
  async serve(answer, { cert, key }) {
    const server = await createVerbena({
      device: 'soft',
      cert,
      key,
      // It is to run flat out.
      cpuThresholdPercent: 100,
      queueSize: 4096,
      handler({ payload }) {
        const response = answer(payload);
        // As with frames over a socket, nobody keeps it.
        if (response !== payload) release(payload);
        return response;
      },
    });
    return server.address().port;
  },
  async connect(port, { ca }) {
    const connection = await verbenaConnect({ device: 'soft', host: HOST, port, ca });
    return {
      payload: allocate,
      request: (payload) =>
        payload.length < LARGE_BYTES
          ? connection.request(payload)
          : connection.request(payload).then(release),
      read: (length) => connection.read(0, length),
      write: (payload) => connection.write(0, payload),
      close: () => connection.close(),
    };
  },
};

const net = {
  serve: (answer) => listen(createNetServer((socket) => serveFrames(socket, answer))),
  async connect(port) {
    const socket = netConnect({ host: HOST, port });
    await once(socket, 'connect');
    return frameClient(socket);
  },
};

const tls = {
  serve: (answer, { cert, key }) =>
    listen(
      createTlsServer({ cert, key, minVersion: 'TLSv1.3' }, (socket) =>
        serveFrames(socket, answer),
      ),
    ),
  async connect(port, { ca }) {
    const socket = tlsConnect({ host: HOST, port, ca, minVersion: 'TLSv1.3' });
    await once(socket, 'secureConnect');
    return frameClient(socket);
  },
};

/** Keeps all that one tick writes for one write. */
function corkTick(socket) {
  if (socket.writableCorked > 0) return;
  socket.cork();
  process.nextTick(() => socket.uncork());
}

/** A message of a request id and a payload. */
function withId(id, payload) {
  const message = Buffer.allocUnsafe(4 + payload.length);
  message.writeUInt32LE(id, 0);
  message.set(payload, 4);
  return message;
}

/** Requests with ids over something that sends messages. */
function messageClient(send, close) {
  const pending = new Map();
  let next = 0;
  return {
    onMessage(message) {
      const id = message.readUInt32LE(0);
      pending.get(id)(message.subarray(4));
      pending.delete(id);
    },
    client: {
      request: (payload) =>
        new Promise((resolve) => {
          const id = next++ >>> 0;
          pending.set(id, resolve);
          send(withId(id, payload));
        }),
      close,
    },
  };
}

const ws = {
  async serve(answer) {
    const { WebSocketServer } = await import('ws');
    const server = new WebSocketServer({ host: HOST, port: 0, perMessageDeflate: false });
    server.on('connection', (socket, { socket: raw }) => {
      raw.setNoDelay(true);
      socket.on('message', (message) => {
        corkTick(raw);
        socket.send(withId(message.readUInt32LE(0), answer(message.subarray(4))));
      });
    });
    await once(server, 'listening');
    return server.address().port;
  },
  async connect(port) {
    const { WebSocket } = await import('ws');
    const socket = new WebSocket(`ws://${HOST}:${port}`, { perMessageDeflate: false });
    const [response] = await Promise.all([once(socket, 'upgrade'), once(socket, 'open')]);
    const raw = response[0].socket;
    raw.setNoDelay(true);
    const { client, onMessage } = messageClient(
      (message) => {
        corkTick(raw);
        socket.send(message);
      },
      () => socket.terminate(),
    );
    socket.on('message', onMessage);
    return client;
  },
};

const grpcPath = '/bench.Bench/Echo';
const asItIs = (bytes) => bytes;
const grpcLimits = {
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  'grpc.use_local_subchannel_pool': 1,
};

const grpc = {
  async serve(answer) {
    const { Server, ServerCredentials } = await import('@grpc/grpc-js');
    const server = new Server(grpcLimits);
    const method = {
      path: grpcPath,
      requestStream: false,
      responseStream: false,
      requestSerialize: asItIs,
      requestDeserialize: asItIs,
      responseSerialize: asItIs,
      responseDeserialize: asItIs,
    };
    server.addService(
      { echo: method },
      { echo: ({ request }, callback) => callback(null, Buffer.from(answer(request))) },
    );
    return new Promise((resolve, reject) => {
      const done = (error, port) => (error ? reject(error) : resolve(port));
      server.bindAsync(`${HOST}:0`, ServerCredentials.createInsecure(), done);
    });
  },
  async connect(port) {
    const { Client, credentials } = await import('@grpc/grpc-js');
    const client = new Client(`${HOST}:${port}`, credentials.createInsecure(), grpcLimits);
    await new Promise((resolve, reject) =>
      client.waitForReady(Date.now() + 30_000, (error) => (error ? reject(error) : resolve())),
    );
    return {
      request: (payload) =>
        new Promise((resolve, reject) =>
          client.makeUnaryRequest(grpcPath, asItIs, asItIs, Buffer.from(payload), (error, bytes) =>
            error ? reject(error) : resolve(bytes),
          ),
        ),
      close: () => client.close(),
    };
  },
};

/** ZeroMQ takes one message at a time; those that come meanwhile go as soon as it is sent. */
function inTurn(socket) {
  const waiting = [];
  let isSending = false;
  const drain = async () => {
    isSending = true;
    while (waiting.length > 0) await socket.send(waiting.shift());
    isSending = false;
  };
  return (message) => {
    waiting.push(message);
    if (!isSending) void drain();
  };
}

const zeromq = {
  async serve(answer) {
    const { Router } = await import('zeromq');
    const socket = new Router({ sendHighWaterMark: 0, receiveHighWaterMark: 0 });
    await socket.bind(`tcp://${HOST}:*`);
    const send = inTurn(socket);
    void (async () => {
      for await (const [peer, message] of socket) {
        send([peer, withId(message.readUInt32LE(0), answer(message.subarray(4)))]);
      }
    })();
    return Number(socket.lastEndpoint.split(':').pop());
  },
  async connect(port) {
    const { Dealer } = await import('zeromq');
    const socket = new Dealer({ sendHighWaterMark: 0, receiveHighWaterMark: 0, linger: 0 });
    socket.connect(`tcp://${HOST}:${port}`);
    const { client, onMessage } = messageClient(inTurn(socket), () => socket.close());
    void (async () => {
      for await (const [message] of socket) onMessage(message);
    })();
    return client;
  },
};

/** By name; Verbena first. */
export const peers = { verbena, net, tls, ws, grpc, zeromq };
