// `verbena serve`: an echo server with its configuration, certificate, log and way to stop.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { pino, type Logger } from 'pino';
import { serveConfig, type ServeConfig } from '../config/schema.js';
import {
  createServer,
  startAdmin,
  type Server,
  type ServerOptions,
  type VerbenaError,
} from '../index.js';
import { readSettings } from './config-sources.js';
import { readCredentials } from './credentials.js';
import { CliFailure, ExitCode } from './failure.js';
import { reloadOnHangup } from './hangup.js';
import serveHandler from './serve-handler.js';

/** The user's module, or the echo; a worker can have neither but by its URL. */
function handlerOf({ handler, workers }: ServeConfig): ServerOptions['handler'] {
  if (handler !== undefined) return pathToFileURL(resolve(handler));
  return workers === 0 ? serveHandler : new URL('./serve-handler.js', import.meta.url);
}

/** Resolves with the first SIGTERM or SIGINT; the next one ends the process at once. */
function stopSignal(log: Logger): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (asked) {
        log.warn({ signal }, 'asked again: ending at once');
        process.exit(signal === 'SIGINT' ? ExitCode.interrupted : ExitCode.terminated);
      }
      asked = true;
      resolve(signal);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}

function logEvents(server: Server, log: Logger): void {
  server.on('session', ({ id, name, remoteAddress }) => {
    log.info({ session: id, name, remoteAddress }, 'client connected');
  });
  server.on('sessionEnd', ({ id, name }, { code, message }) => {
    log.info({ session: id, name, code, reason: message }, 'client left');
  });
  server.on('refused', ({ code, message }) =>
    log.warn({ code, reason: message }, 'client refused'),
  );
  server.on('requestError', ({ id }, error) =>
    log.error({ session: id, err: error }, 'handler failed'),
  );
  server.on('port', (isActive) => {
    if (isActive) log.info("the device's port is active again");
    else log.warn("the device's port is down: no new clients until it is active again");
  });
  server.on('load', ({ resource, isOn, percent }) => {
    const reading = { resource, percent: Math.round(percent) };
    if (isOn) log.warn(reading, `shedding load: ${resource} is above its threshold`);
    else log.info(reading, `no more load is shed for ${resource}`);
  });
  server.on('workerLost', (worker, { code, message }) =>
    log.error({ worker, code, reason: message }, 'lost a worker; another takes its place'),
  );
  server.on('error', (error) => log.error({ code: error.code }, error.message));
}

/** Resolves with the error when the device fails, which the server cannot mend. */
function deviceFailure(server: Server): Promise<VerbenaError> {
  return new Promise((resolve) => {
    server.on('error', (error) => {
      if (error.code === 'ERR_VERBENA_DEVICE_FATAL') resolve(error);
    });
  });
}

async function giveUp(server: Server, cause: VerbenaError): Promise<never> {
  await server.close();
  const hint = 'look at dmesg and the device, then start the server again';
  throw new CliFailure('the server ended', { cause, hint });
}

/** Opens the admin port, if one is wanted; a server without it would not be what was asked for. */
async function openAdmin(
  server: Server,
  { adminPort: port, adminHost: host }: Pick<ServeConfig, 'adminPort' | 'adminHost'>,
): Promise<void> {
  if (port === undefined) return;
  try {
    const { url } = await startAdmin(server, { port, host });
    process.stdout.write(`verbena: status page and metrics on ${url}\n`);
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** Serves until told to stop; resolves with the exit code once everything is released. */
export async function serveCommand(flags: Readonly<Record<string, string>>): Promise<number> {
  const config = await readSettings(flags, serveConfig);
  const { softAddr, cert, key, devCert, logLevel, adminPort, adminHost, ...options } = config;
  // Written synchronously: what is logged before a crash is there to be read.
  const log = pino({ level: logLevel }, pino.destination({ dest: 2, sync: true }));
  const server = await createServer({
    ...options,
    ...(await readCredentials({ cert, key, devCert, host: config.host }, log)),
    softAddress: softAddr,
    handler: handlerOf(config),
  });
  logEvents(server, log);
  const failed = deviceFailure(server);
  await openAdmin(server, { adminPort, adminHost });
  const stopped = stopSignal(log);
  reloadOnHangup({ server, flags, started: config, log });
  const { address, port, family } = server.address();
  const where = family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
  const { clients, limitedBy } = server.capacity;
  log.info({ clients, limitedBy }, `room for ${clients} clients, limited by ${limitedBy}`);
  const workers = server.stats().workers.length;
  if (workers > 0) log.info({ workers }, `clients are served by ${workers} workers`);
  process.stdout.write(`verbena: listening on ${where} (device ${server.deviceName})\n`);
  const signal = await Promise.race([stopped, failed.then((error) => giveUp(server, error))]);
  log.info({ signal }, 'stopping: no new clients, work in flight may finish');
  await server.drain();
  await server.close();
  log.info('stopped');
  return ExitCode.ok;
}
