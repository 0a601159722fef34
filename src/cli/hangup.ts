// SIGHUP: the settings are read again, what can change while the server runs does, and the log
// names the rest.
import type { Logger } from 'pino';
import { serveConfig, type ServeConfig } from '../config/schema.js';
import { serveSettings, type Setting } from '../config/settings.js';
import { messageOf } from '../errors.js';
import type { Server } from '../index.js';
import { readSettings } from './config-sources.js';
import { readCredentials } from './credentials.js';

export interface ReloadSources {
  readonly server: Server;
  /** As they were given at the start; they go before everything else still. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly started: ServeConfig;
  readonly log: Logger;
}

const fixedKeys = (serveSettings as readonly Setting[])
  .filter(({ needsRestart }) => needsRestart === true)
  .map(({ key }) => key as keyof ServeConfig);

/** Settings that stay unset come as undefined, so that one that was taken away is forgotten. */
function liveSettings(config: ServeConfig): Partial<ServeConfig> {
  const live = serveSettings.filter(({ key }) => !fixedKeys.includes(key));
  return Object.fromEntries(live.map(({ key }) => [key, config[key]]));
}

async function reload({ server, flags, started, log }: ReloadSources): Promise<void> {
  const config = await readSettings(flags, serveConfig);
  const { cert, key, devCert, logLevel = started.logLevel, ...options } = liveSettings(config);
  const files = { cert, key, devCert, host: started.host };
  const result = server.reload({ ...options, ...(await readCredentials(files, log)) });
  const isLevelNew = log.level !== logLevel;
  log.level = logLevel;
  const changed = [...result.changed, ...(isLevelNew ? ['logLevel'] : [])];
  const { clients, limitedBy } = server.capacity;
  log.info({ changed, clients, limitedBy }, 'read the settings again');
  const fixed = fixedKeys.filter((name) => config[name] !== started[name]);
  const needsRestart = [...fixed, ...result.needsRestart];
  if (needsRestart.length === 0) return;
  log.warn({ needsRestart }, `start the server again for ${needsRestart.join(', ')} to change`);
}

/** Reloads at each SIGHUP, one after the other; what fails leaves everything as it was. */
export function reloadOnHangup(sources: ReloadSources): void {
  let last = Promise.resolve();
  process.on('SIGHUP', () => {
    last = last
      .then(() => reload(sources))
      .catch((error: unknown) => {
        const reason = messageOf(error);
        sources.log.error({ reason }, 'the settings stay as they were: the new ones do not work');
      });
  });
}
