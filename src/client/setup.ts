// The client's side of the set-up, from TLS to the proof; whatever fails undoes what was done
// before.
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { Endpoint, openQueuePair, type EndpointUser } from '../connection/endpoint.js';
import { MessageType, type MessageHeader } from '../connection/header.js';
import { newTrafficStats } from '../connection/traffic-stats.js';
import { UndoStack } from '../connection/undo-stack.js';
import { VerbenaError, cleanupError, codeOf, messageOf, toVerbenaError } from '../errors.js';
import { ControlChannel, type ControlListener } from '../handshake/control-channel.js';
import {
  PROTOCOL_VERSION,
  rejectedError,
  type ControlMessage,
  type Hello,
  type Ready,
  type Reject,
  type Welcome,
} from '../handshake/messages.js';
import { peerQueuePairError } from '../handshake/peer-view.js';
import { exportProofKey, makeProof, proofMatches } from '../handshake/proof.js';
import { checkAlpn, clientTlsOptions, offerFirstCertificate } from '../handshake/tls.js';
import { Access } from '../native/addon.js';
import { gidFamily, type GidChoice, type GidFamily, type PortChoice } from '../rdma/addressing.js';
import type { Device } from '../rdma/device.js';
import type { QueuePair } from '../rdma/queue-pair.js';
import type { EstablishedConnection } from './connection.js';
import type { ConnectOptions, ResolvedConnectOptions } from './options.js';

const MAX_RD_ATOMIC = 16;

/** A refusal that another attempt may get around: `families` are those the server has. */
export class SetupRefused extends VerbenaError {
  readonly families: readonly GidFamily[];

  constructor(rejected: Reject) {
    const error = rejectedError(rejected);
    super(error.code, error.message, { retryAfterMs: error.retryAfterMs });
    this.name = 'VerbenaError';
    this.families = rejected.families ?? [];
  }
}

export interface SetupOptions {
  readonly raw: ConnectOptions;
  readonly resolved: ResolvedConnectOptions;
  readonly device: Device;
  /** Only addresses of this family; undefined: the best there is. */
  readonly family: GidFamily | undefined;
  /** Where packet sequence numbers come from. */
  readonly drawPsn: () => number;
  /** When this attempt must be over, of `performance.now()`. */
  readonly deadline: number;
}

/** What both sides know once the server has welcomed the client. */
interface Agreement {
  readonly hello: Hello;
  readonly welcome: Welcome;
  readonly endpoint: Endpoint;
  readonly serverProof: Uint8Array;
}

let connectionsMade = 0;

/** One attempt; `run` is called once. */
export class ClientSetup implements ControlListener, EndpointUser {
  readonly #options: SetupOptions;
  readonly #undo = new UndoStack();
  readonly #port: PortChoice;
  readonly #gid: GidChoice;
  #socket!: TLSSocket;
  #channel: ControlChannel | undefined;
  #qp: QueuePair | undefined;
  #sent: { readonly hello: Hello; readonly raw: Buffer } | undefined;
  #agreed: Agreement | undefined;
  #ready: Ready | undefined;
  #isProven = false;
  #isOver = false;
  #isHandedOver = false;
  #resolve!: (established: EstablishedConnection) => void;
  #reject!: (error: VerbenaError) => void;

  constructor(options: SetupOptions) {
    const { device, raw, family } = options;
    this.#options = options;
    this.#port = device.choosePort(raw.devicePort);
    this.#gid = device.chooseGid(this.#port.port, { index: raw.gidIndex, family });
  }

  /** Address family of the GID that this attempt uses. */
  get family(): GidFamily {
    return this.#gid.family;
  }

  /** Resolves with everything a connection needs; what failed is undone when this rejects. */
  run(): Promise<EstablishedConnection> {
    const { deadline, raw } = this.#options;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#onDeadline(), Math.max(0, deadline - performance.now()));
      const onAbort = (): void => {
        this.#fail(
          new VerbenaError('ERR_VERBENA_ABORTED', 'the attempt to connect was aborted', {
            cause: raw.signal?.reason,
          }),
        );
      };
      const settle = (): void => {
        clearTimeout(timer);
        raw.signal?.removeEventListener('abort', onAbort);
      };
      this.#resolve = (established) => {
        settle();
        resolve(established);
      };
      this.#reject = (error) => {
        settle();
        reject(error);
      };
      raw.signal?.addEventListener('abort', onAbort, { once: true });
      this.#openSocket();
    });
  }

  // ControlListener

  onControlMessage(message: ControlMessage, raw: Buffer): void {
    const { type } = message;
    if (type === 'reject') {
      this.#fail(new SetupRefused(message));
      return;
    }
    if (type === 'welcome') {
      this.#onWelcome(message, raw);
      return;
    }
    if (type === 'ready' && this.#agreed !== undefined && this.#ready === undefined) {
      this.#ready = message;
      this.#finishIfReady();
      return;
    }
    if (type === 'qp-error') {
      // The server has made it a session, and that broke before this side knew.
      this.#fail(peerQueuePairError(message));
      return;
    }
    if (type === 'keepalive') return;
    throw new VerbenaError(
      'ERR_VERBENA_UNEXPECTED_MESSAGE',
      `the server sent '${type}' out of turn`,
    );
  }

  onControlEnd(error: VerbenaError): void {
    if (this.#agreed !== undefined || error.code !== 'ERR_VERBENA_CONNECTION_LOST') {
      this.#fail(error);
      return;
    }
    // TLS 1.3 lets the client through before the server has judged its certificate.
    const { raw } = this.#options;
    const { cause } = error;
    const silent = new Error(
      'the server closed the connection during the set-up; if it asks for client certificates, ' +
        'check cert and key',
    );
    this.#fail(connectError(cause instanceof Error ? cause : silent, raw));
  }

  // EndpointUser

  onMessage(header: MessageHeader, at: number): void {
    const agreed = this.#agreed;
    if (agreed === undefined || this.#isOver) return;
    const { endpoint, serverProof } = agreed;
    if (this.#isProven) {
      endpoint.failProtocol('the server spoke before the set-up was finished');
      return;
    }
    const received = endpoint.bytes.subarray(at, at + header.length);
    if (header.type !== MessageType.proof || !proofMatches(serverProof, received)) {
      this.#fail(
        new VerbenaError(
          'ERR_VERBENA_PROOF_MISMATCH',
          'the queue pair does not belong to the server that TLS verified',
        ),
      );
      return;
    }
    this.#isProven = true;
    this.#finishIfReady();
  }

  onImmediate(): void {
    this.#agreed?.endpoint.failProtocol('the server wrote with immediate');
  }

  onWritable(): void {
    // The proof is all there is to send.
  }

  onFailure(error: VerbenaError): void {
    this.#fail(error);
  }

  #openSocket(): void {
    const { raw } = this.#options;
    const socket = tlsConnect(clientTlsOptions(raw));
    offerFirstCertificate(socket);
    this.#socket = socket;
    const onEarlyError = (cause: Error): void => {
      this.#fail(connectError(cause, raw));
    };
    const onEarlyClose = (): void => {
      this.#fail(connectError(new Error('it closed the connection'), raw));
    };
    socket.once('error', onEarlyError);
    socket.once('close', onEarlyClose);
    socket.once('secureConnect', () => {
      socket.off('error', onEarlyError);
      socket.off('close', onEarlyClose);
      this.#attempt(() => this.#sayHello());
    });
    this.#undo.add(() => {
      if (this.#isHandedOver) return;
      socket.on('error', () => undefined); // What happens to an abandoned socket concerns nobody.
      if (this.#channel === undefined) socket.destroy();
      else this.#channel.end();
    });
  }

  #sayHello(): void {
    checkAlpn(this.#socket);
    const channel = new ControlChannel(this.#socket, this);
    channel.allowLargeFrames();
    this.#channel = channel;
    const { resolved, device } = this.#options;
    const qp = openQueuePair(device, {
      owner: `client-${++connectionsMade}`,
      port: this.#port,
      slots: resolved.slots,
      // The server reads what is offered to it, and nothing else.
      access: Access.remoteRead,
    });
    this.#qp = qp;
    this.#undo.add(() => qp.close());
    const hello = this.#makeHello(qp.qpn);
    this.#sent = { hello, raw: channel.send(hello) };
  }

  #makeHello(qpn: number): Hello {
    const { resolved, device } = this.#options;
    const { maxQpInitRdAtomic, maxQpRdAtomic } = device.attributes;
    const { activeMtu, lid } = this.#port.attributes;
    return {
      type: 'hello',
      version: PROTOCOL_VERSION,
      name: resolved.name,
      slots: resolved.slots,
      slotBytes: resolved.slotBytes,
      ...(resolved.regionBytes === undefined ? {} : { regionBytes: resolved.regionBytes }),
      maxPayloadBytes: resolved.maxPayloadBytes,
      readsRetryAfter: true,
      endpoint: {
        qpn,
        psn: this.#options.drawPsn(),
        gid: this.#gid.gid,
        lid,
        mtu: activeMtu as Hello['endpoint']['mtu'],
        maxRdAtomic: Math.min(MAX_RD_ATOMIC, maxQpInitRdAtomic),
        maxDestRdAtomic: Math.min(MAX_RD_ATOMIC, maxQpRdAtomic),
      },
    };
  }

  #onWelcome(welcome: Welcome, raw: Buffer): void {
    const { hello, raw: helloRaw } = this.#sent ?? {};
    const qp = this.#qp;
    if (hello === undefined || helloRaw === undefined || qp === undefined || this.#agreed) {
      throw new VerbenaError('ERR_VERBENA_UNEXPECTED_MESSAGE', "'welcome' came out of turn");
    }
    checkWelcome(hello, welcome);
    const endpoint = new Endpoint(
      qp,
      { slots: welcome.slots, slotBytes: welcome.slotBytes, stats: newTrafficStats() },
      this,
    );
    const key = exportProofKey(this.#socket);
    const serverProof = makeProof(key, 'server', helloRaw, raw);
    this.#agreed = { hello, welcome, endpoint, serverProof };
    this.#undo.add(() => {
      endpoint.stop();
      // Begins at once: who hears that a transfer failed may touch its memory in the next moment.
      void qp.close();
    });
    endpoint.connect({
      remote: welcome.endpoint,
      localPsn: hello.endpoint.psn,
      gid: this.#gid,
      mtu: welcome.mtu,
      maxRdAtomic: Math.min(hello.endpoint.maxRdAtomic, welcome.endpoint.maxDestRdAtomic),
      maxDestRdAtomic: hello.endpoint.maxDestRdAtomic,
    });
    endpoint.send(MessageType.proof, 0, 0, 0, makeProof(key, 'client', helloRaw, raw));
  }

  #finishIfReady(): void {
    const agreed = this.#agreed;
    const channel = this.#channel;
    if (agreed === undefined || channel === undefined) return;
    if (this.#isOver || this.#ready === undefined || !this.#isProven) return;
    this.#isOver = true;
    this.#isHandedOver = true;
    // What undoes the set-up keeps this object for as long as the connection lives.
    this.#sent = undefined;
    this.#agreed = undefined;
    this.#resolve({
      options: this.#options.resolved,
      deviceName: this.#options.device.name,
      hello: agreed.hello,
      welcome: agreed.welcome,
      region: this.#ready.region ?? { rkey: 0, length: 0 },
      endpoint: agreed.endpoint,
      channel,
      undo: this.#undo,
    });
  }

  #onDeadline(): void {
    const { handshakeTimeoutMs, host, port } = this.#options.resolved;
    const stage =
      this.#channel === undefined
        ? 'no TLS connection came about; check address, port and firewall'
        : this.#agreed === undefined
          ? 'the server did not answer; it is overloaded'
          : 'RDMA packets do not arrive; check UDP port 4791, the GID index and the MTU';
    this.#fail(
      new VerbenaError(
        'ERR_VERBENA_HANDSHAKE_TIMEOUT',
        `the set-up with ${host} port ${port} took longer than ${handshakeTimeoutMs} ms: ${stage}`,
      ),
    );
  }

  #fail(error: VerbenaError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    void this.#undo.run().then((failures) => {
      const failure = cleanupError('giving up a connection', failures);
      if (failure !== undefined) process.emitWarning(failure);
      this.#reject(error);
    });
  }

  #attempt(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#fail(toVerbenaError(error, 'ERR_VERBENA_INTERNAL'));
    }
  }
}

/** The server may grant less than was asked for, never more. */
function checkWelcome(hello: Hello, welcome: Welcome): void {
  const isSane =
    welcome.slots <= hello.slots &&
    welcome.slotBytes <= hello.slotBytes &&
    welcome.slotBytes % 8 === 0 &&
    welcome.mtu <= hello.endpoint.mtu &&
    gidFamily(welcome.endpoint.gid) === gidFamily(hello.endpoint.gid);
  if (isSane) return;
  throw new VerbenaError(
    'ERR_VERBENA_INVALID_MESSAGE',
    "the server's welcome grants what was not asked for",
  );
}

const connectHints: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there; check that the server runs, and its address and port',
  EHOSTUNREACH: 'the host cannot be reached; check the network',
  ENETUNREACH: 'the network cannot be reached; check the routes',
  ENOTFOUND: 'the name cannot be resolved; check it, or give an address',
  ETIMEDOUT: 'the host does not answer; check address and firewall',
};

const certificateCodes =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT|ERR_SSL|ERR_OSSL|HOSTNAME_)/;

function connectError(cause: Error, { host, port }: ConnectOptions): VerbenaError {
  const code = codeOf(cause) ?? '';
  const where = `${host} port ${port}`;
  if (certificateCodes.test(code)) {
    return new VerbenaError(
      'ERR_VERBENA_TLS',
      `TLS with ${where} failed: ${messageOf(cause)} (${code}). ` +
        "Give the authority of the server's certificate as ca, " +
        'and the host as the certificate names it',
      { cause },
    );
  }
  const hint = connectHints[code] ?? messageOf(cause);
  return new VerbenaError('ERR_VERBENA_CONNECT', `cannot connect to ${where}: ${hint}`, { cause });
}
