// What clients do that misbehave on purpose: stop in mid-set-up, cut TLS, write out of bounds.
import { once } from 'node:events';
import { connect as tcpConnect } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { establishWith } from '../client/connect.js';
import { ClientConnection } from '../client/connection.js';
import { ClientSetup } from '../client/setup.js';
import type { ControlMessage } from '../handshake/messages.js';
import { drawPsn } from '../handshake/psn.js';
import type { VerbenaError } from '../errors.js';
import type { ConnectOptions } from '../index.js';
import type { SetupStage } from './client-messages.js';

const forever = new Promise<never>(() => undefined);

/** A set-up that hears the server up to a stage, and nothing after it. */
function setupThatStopsAt(stage: SetupStage, reached: () => void): typeof ClientSetup {
  return class extends ClientSetup {
    override onControlMessage(message: ControlMessage, raw: Buffer): void {
      if (message.type === stage) reached();
      else super.onControlMessage(message, raw);
      if (message.type === 'welcome' && stage === 'proof') void turn().then(reached);
    }
  };
}

/** Resolves once the set-up has come so far; it stays there. Rejects when it fails before. */
export function stall(options: ConnectOptions, stage: SetupStage): Promise<void> {
  return new Promise((resolve, reject) => {
    if (stage === 'tcp') {
      tcpConnect(options.port, options.host, resolve).once('error', reject);
      return;
    }
    const psnSource = (): number => {
      // The next thing would be the hello: TLS and the queue pair are there.
      if (stage === 'tls') resolve();
      return drawPsn();
    };
    const Setup = setupThatStopsAt(stage, resolve);
    establishWith(options, psnSource, Setup).then(() => forever, reject);
  });
}

const busyMs = 50;

/**
 * Resolves with the code with which a connection ends. It is kept busy, because only who sends
 * learns that nobody answers any more.
 */
async function endOf(connection: ClientConnection): Promise<string> {
  const busy = setInterval(() => {
    connection.request(new Uint8Array(16)).catch(() => undefined);
  }, busyMs);
  const [{ code }] = (await once(connection, 'close')) as [VerbenaError];
  clearInterval(busy);
  return code;
}

/** A connection that was ill-treated. */
export interface Victim {
  readonly connection: ClientConnection;
  /** Resolves with the code with which it ended. */
  readonly outcome: Promise<string>;
}

/** Cuts the TLS channel; this side pretends not to notice, so that its queue pair lives on. */
export async function cutTls(options: ConnectOptions): Promise<Victim> {
  const established = await establishWith(options);
  const connection = new ClientConnection(established);
  await connection.request(new Uint8Array(16));
  const { socket } = established.channel;
  socket.removeAllListeners('close').removeAllListeners('end');
  socket.destroy();
  return { connection, outcome: endOf(connection) };
}

/** Writes past the end of its region, which the server's device answers with an error. */
export async function trespass(options: ConnectOptions): Promise<Victim> {
  const established = await establishWith(options);
  const { region } = established;
  const connection = new ClientConnection({
    ...established,
    region: { ...region, length: region.length + 2 ** 20 },
  });
  await connection.request(new Uint8Array(16));
  const outcome = endOf(connection);
  connection.write(region.length, new Uint8Array(4096)).catch(() => undefined);
  return { connection, outcome };
}
