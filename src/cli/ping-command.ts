// `verbena ping`: times echo requests to a server and checks what comes back.
import { randomFillSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, messageOf } from '../errors.js';
import { connect, type Connection } from '../index.js';
import { percentile } from '../stress/percentile.js';
import { CliFailure, ExitCode } from './failure.js';
import { parseTarget, type Target } from './target.js';

export interface PingOptions {
  readonly ca?: string;
  readonly insecure: boolean;
  readonly device: string;
  readonly softAddr?: string;
  readonly count: number;
  readonly size: number;
  /** Milliseconds between requests. */
  readonly interval: number;
  readonly json: boolean;
}

interface Tally {
  sent: number;
  readonly latenciesUs: number[];
  readonly errors: string[];
}

/** The text of a certificate file. */
export async function readAuthority(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const hint = 'give --ca the ca.pem that the server wrote or its operator gave you';
    throw new CliFailure('cannot read the certificate authority', { cause, hint });
  }
}

async function open({ host, port }: Target, options: PingOptions): Promise<Connection> {
  const ca = options.ca === undefined ? undefined : await readAuthority(options.ca);
  if (options.insecure) {
    process.stderr.write(
      'verbena: WARNING: --insecure: the server is NOT verified, anyone could answer instead\n',
    );
  }
  try {
    return await connect({
      host,
      port,
      device: options.device,
      name: 'verbena ping',
      softAddress: options.softAddr,
      ca,
      rejectUnauthorized: !options.insecure,
    });
  } catch (error) {
    if (codeOf(error) !== 'ERR_VERBENA_TLS') throw error;
    throw new CliFailure(`cannot trust ${host} port ${port}`, {
      cause: error,
      hint: 'on the command line: --ca FILE',
    });
  }
}

async function pingOnce(connection: Connection, payload: Uint8Array): Promise<number> {
  randomFillSync(payload);
  const started = performance.now();
  const answer = await connection.request(payload);
  const elapsedUs = (performance.now() - started) * 1000;
  if (!Buffer.from(payload).equals(answer)) throw new Error('the answer is not what was sent');
  return elapsedUs;
}

/** Sends until the count is reached or the user has had enough. */
async function pingAll(
  connection: Connection,
  options: PingOptions,
  stop: AbortSignal,
  show: (line: string) => void,
): Promise<Tally> {
  const tally: Tally = { sent: 0, latenciesUs: [], errors: [] };
  const payload = new Uint8Array(options.size);
  let ending = 'the connection is closed';
  connection.once('close', ({ message }) => (ending = message));
  while (tally.sent < options.count && !stop.aborted && connection.isOpen) {
    if (tally.sent > 0 && options.interval > 0) {
      // Interrupted, the sleep rejects.
      const rested = await sleep(options.interval, true, { signal: stop }).catch(() => false);
      if (!rested) break;
    }
    tally.sent += 1;
    try {
      const elapsedUs = await pingOnce(connection, payload);
      tally.latenciesUs.push(elapsedUs);
      show(`${options.size} bytes: seq=${tally.sent} time=${elapsedUs.toFixed(1)} µs`);
    } catch (error) {
      tally.errors.push(messageOf(error));
      show(`seq=${tally.sent} failed: ${messageOf(error)}`);
    }
  }
  if (tally.sent < options.count && !stop.aborted) {
    tally.errors.push(ending);
    show(`stopped: ${ending}`);
  }
  return tally;
}

function statistics({ sent, latenciesUs, errors }: Tally): {
  readonly sent: number;
  readonly received: number;
  readonly errors: readonly string[];
  readonly latencyUs: Readonly<Record<'min' | 'avg' | 'p50' | 'p99' | 'max', number>>;
} {
  const sorted = [...latenciesUs].sort((a, b) => a - b);
  const sum = sorted.reduce((total, value) => total + value, 0);
  return {
    sent,
    received: sorted.length,
    errors,
    latencyUs: {
      min: sorted[0] ?? 0,
      avg: sorted.length === 0 ? 0 : sum / sorted.length,
      p50: percentile(sorted, 0.5),
      p99: percentile(sorted, 0.99),
      max: sorted.at(-1) ?? 0,
    },
  };
}

function summary(
  target: string,
  { sent, received, latencyUs }: ReturnType<typeof statistics>,
): string {
  const lost = sent === 0 ? 0 : ((sent - received) / sent) * 100;
  const figures = (['min', 'avg', 'p50', 'p99', 'max'] as const).map((name) =>
    latencyUs[name].toFixed(1),
  );
  return (
    `\n--- ${target} ---\n` +
    `${sent} requests sent, ${received} answered, ${lost.toFixed(0)}% lost\n` +
    `min/avg/p50/p99/max = ${figures.join('/')} µs\n`
  );
}

/** Resolves with the exit code: 0 when every request was answered, until the user had enough. */
export async function pingCommand(target: string, options: PingOptions): Promise<number> {
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) {
      process.exit(signal === 'SIGINT' ? ExitCode.interrupted : ExitCode.terminated);
    }
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    const server = parseTarget(target);
    await using connection = await open(server, options);
    const show = (line: string): void => {
      if (!options.json) process.stdout.write(`${line}\n`);
    };
    show(`PING ${target} over ${connection.device}, ${options.size} bytes of payload`);
    const figures = statistics(await pingAll(connection, options, stop.signal, show));
    const { localPsn, remotePsn, device } = connection;
    if (options.json) {
      const document = { target, device, localPsn, remotePsn, ...figures };
      process.stdout.write(`${JSON.stringify(document)}\n`);
    } else {
      process.stdout.write(summary(target, figures));
    }
    return figures.errors.length === 0 ? ExitCode.ok : ExitCode.failure;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}
