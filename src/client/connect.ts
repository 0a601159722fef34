// `connect`: opens the device, sets a connection up, and tries again where a refusal says how.
import { VerbenaError, messageOf, toVerbenaError } from '../errors.js';
import { drawPsn } from '../handshake/psn.js';
import type { GidFamily } from '../rdma/addressing.js';
import { acquireDevice } from '../rdma/device.js';
import { ClientConnection, type Connection, type EstablishedConnection } from './connection.js';
import {
  resolveConnectOptions,
  resolveReconnectOptions,
  resolveRetryOptions,
  type ConnectOptions,
} from './options.js';
import { ReconnectingConnection } from './reconnecting.js';
import { Retrier } from './retrier.js';
import { ClientSetup, SetupRefused, type SetupOptions } from './setup.js';

/**
 * A collision of packet sequence numbers has odds of one in thousands; three in a row mean
 * something else.
 */
const MAX_ATTEMPTS = 3;

/** Another address family after a refusal, or the same when only the number must be drawn again. */
function nextFamily(
  error: unknown,
  current: GidFamily,
): { readonly family: GidFamily | undefined } | undefined {
  if (!(error instanceof SetupRefused)) return undefined;
  if (error.code === 'ERR_VERBENA_PSN_IN_USE') return { family: current };
  if (error.code !== 'ERR_VERBENA_GID_FAMILY_MISMATCH') return undefined;
  const family = error.families.find((candidate) => candidate !== current);
  return family === undefined ? undefined : { family };
}

type Attempt = Omit<SetupOptions, 'family'>;

async function establish(
  options: Attempt,
  Setup: typeof ClientSetup,
): Promise<EstablishedConnection> {
  let setup = new Setup({ ...options, family: undefined });
  for (let attempt = 1; ; attempt++) {
    try {
      return await setup.run();
    } catch (error) {
      const next = nextFamily(error, setup.family);
      if (next === undefined || attempt === MAX_ATTEMPTS) throw error;
      const again = setupFor(options, Setup, next.family);
      if (again === undefined) throw error;
      setup = again;
    }
  }
}

/** Another attempt, or none when this side has no address of the family. */
function setupFor(
  options: Attempt,
  Setup: typeof ClientSetup,
  family: GidFamily | undefined,
): ClientSetup | undefined {
  try {
    return new Setup({ ...options, family });
  } catch (error) {
    if (error instanceof VerbenaError && error.code === 'ERR_VERBENA_NO_GID') return undefined;
    throw error;
  }
}

/**
 * Sets a connection up and hands over what it is made of. The source of packet sequence numbers and
 * the steps of the set-up are open to those who misbehave on purpose.
 */
export async function establishWith(
  raw: ConnectOptions,
  psnSource: () => number = drawPsn,
  Setup = ClientSetup,
): Promise<EstablishedConnection> {
  const resolved = resolveConnectOptions(raw);
  if (raw.signal?.aborted === true) {
    throw new VerbenaError('ERR_VERBENA_ABORTED', 'the attempt to connect was aborted', {
      cause: raw.signal.reason,
    });
  }
  const lease = acquireDevice(raw);
  try {
    const deadline = performance.now() + resolved.handshakeTimeoutMs;
    const { device } = lease;
    const attempt = { raw, resolved, device, deadline, drawPsn: psnSource };
    const established = await establish(attempt, Setup);
    established.undo.addFirst(() => lease.release());
    return established;
  } catch (error) {
    for (const failure of lease.release()) process.emitWarning(messageOf(failure));
    throw toVerbenaError(error, 'ERR_VERBENA_INTERNAL');
  }
}

/** `connect` with its source of packet sequence numbers open to tests. */
export async function connectWith(
  raw: ConnectOptions,
  psnSource: () => number,
  retrier?: Retrier,
): Promise<Connection> {
  return new ClientConnection(await establishWith(raw, psnSource), retrier);
}

/**
 * Connects to a server: TLS, queue pair, proof. Rejects with a VerbenaError whose message says what
 * to do: ERR_VERBENA_INVALID_OPTION, ERR_VERBENA_UNKNOWN_DEVICE, ERR_VERBENA_CONNECT,
 * ERR_VERBENA_TLS, ERR_VERBENA_HANDSHAKE_TIMEOUT, the server's refusal
 * (ERR_VERBENA_RESOURCE_EXHAUSTED, ERR_VERBENA_DRAINING, ...; `retryAfterMs` may be set), or
 * ERR_VERBENA_ABORTED. Nothing is left behind then. With the option `retry` it tries again after a
 * refusal that says when.
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const reconnect = resolveReconnectOptions(options);
  const retry = resolveRetryOptions(options);
  const retrier = retry === undefined ? undefined : new Retrier(retry);
  const attempt = (): Promise<Connection> => connectWith(options, drawPsn, retrier);
  const limits = { deadline: Infinity, signal: options.signal };
  const first = await (retrier?.run(attempt, limits) ?? attempt());
  if (reconnect === undefined) return first;
  return new ReconnectingConnection(first, {
    reconnect,
    connect: (signal) => connectWith({ ...options, signal }, drawPsn, retrier),
  });
}
