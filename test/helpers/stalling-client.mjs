// A client process that goes as far as its stage says, prints `reached`, and stays there until it is killed.
import { readFileSync } from 'node:fs';
import { connect as tcpConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { Endpoint, openQueuePair } from '../../dist/connection/endpoint.js';
import { newTrafficStats } from '../../dist/connection/traffic-stats.js';
import { encodeFrame } from '../../dist/handshake/frame.js';
import { exportProofKey, makeProof } from '../../dist/handshake/proof.js';
import { connect } from '../../dist/index.js';
import { acquireDevice } from '../../dist/rdma/device.js';

const [, , deviceName, portText, caFile, stage, timeoutText] = process.argv;
const port = Number(portText);
const ca = readFileSync(caFile, 'utf8');
const host = '127.0.0.1';
const reached = () => process.stdout.write('reached\n');

/** The raw bodies of the server's messages, one after the other. */
async function* bodies(socket) {
  let rest = Buffer.alloc(0);
  for await (const chunk of socket) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
      const end = 4 + rest.readUInt32BE();
      yield rest.subarray(4, end);
      rest = rest.subarray(end);
    }
  }
}

async function secureSocket() {
  const socket = tlsConnect({ host, port, ca, ALPNProtocols: ['verbena/1'] });
  await new Promise((resolve, reject) =>
    socket.once('secureConnect', resolve).once('error', reject),
  );
  return socket;
}

async function handMade() {
  const socket = await secureSocket();
  if (stage === 'tls') return reached();
  if (stage === 'half a frame') {
    socket.write(Buffer.from([0, 0, 1, 0, 0x7b]));
    return reached();
  }
  const { device } = acquireDevice({ device: deviceName });
  const devicePort = device.choosePort();
  const gid = device.chooseGid(devicePort.port);
  const qp = openQueuePair(device, { owner: 'stalling', port: devicePort, slots: 16, access: 4 });
  const psn = process.pid & 0xff_ffff;
  const limits = { lid: 0, mtu: 1024, maxRdAtomic: 16, maxDestRdAtomic: 16 };
  const hello = Buffer.from(
    JSON.stringify({
      ...{ type: 'hello', version: 1, name: stage, slots: 16, slotBytes: 4096 },
      maxPayloadBytes: 4096,
      endpoint: { qpn: qp.qpn, psn, gid: gid.gid, ...limits },
    }),
  );
  socket.write(encodeFrame(hello));
  if (stage === 'hello') return reached();
  const messages = bodies(socket);
  const { value: welcomeRaw } = await messages.next();
  if (stage === 'welcome') return reached();
  const welcome = JSON.parse(welcomeRaw.toString());
  const sizes = { slots: 16, slotBytes: 4096, stats: newTrafficStats() };
  const ignore = () => undefined;
  const user = { onMessage: ignore, onImmediate: ignore, onWritable: ignore, onFailure: ignore };
  const endpoint = new Endpoint(qp, sizes, user);
  const remote = welcome.endpoint;
  endpoint.connect({ remote, localPsn: psn, gid, ...limits, mtu: welcome.mtu });
  if (stage === 'rts') return reached();
  const proof = makeProof(exportProofKey(socket), 'client', hello, welcomeRaw);
  endpoint.send(1, 0, 0, 0, proof);
  if (stage === 'proof') return reached();
  await messages.next();
  return reached();
}

async function established() {
  const handshakeTimeoutMs = Number(timeoutText);
  const options = { device: deviceName, host, port, ca, name: stage, handshakeTimeoutMs };
  const connection = await connect(options);
  connection.on('close', ({ code }) => process.stdout.write(`closed ${code}\n`));
  const ignore = () => undefined;
  switch (stage) {
    case 'requesting':
      connection.request(new Uint8Array(10), { method: 1 }).catch(ignore);
      break;
    case 'offering':
      for (let i = 0; i < 8; i++) connection.request(new Uint8Array(8 << 20)).catch(ignore);
      break;
    case 'pulling':
      for (let i = 0; i < 8; i++)
        connection.request(new Uint8Array(1), { method: 2 }).catch(ignore);
      break;
    case 'writing': {
      const bytes = new Uint8Array(connection.regionLength);
      const again = () => connection.write(0, bytes).then(again, ignore);
      for (let i = 0; i < 4; i++) void again();
      break;
    }
    case 'exiting':
      reached();
      process.exit(0);
      break;
    case 'throwing':
      reached();
      setImmediate(() => {
        throw new Error('on purpose');
      });
      return;
  }
  setImmediate(() => setImmediate(reached));
}

if (stage === 'tcp') tcpConnect(port, host, reached);
else if (['tls', 'half a frame', 'hello', 'welcome', 'rts', 'proof', 'ready'].includes(stage)) {
  await handMade();
} else await established();
