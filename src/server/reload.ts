// Which options of a running server can change: all or nothing, and what needs another start is
// named.
import type { Pem } from '../handshake/tls.js';
import { resolveServerOptions, type ResolvedServerOptions, type ServerOptions } from './options.js';

/** Options to change; those left out stay, those that are undefined go back to their default. */
export type ReloadOptions = Partial<Omit<ServerOptions, 'handler'>>;

export interface ReloadResult {
  /** Options that have a new value now. */
  readonly changed: readonly string[];
  /** Options whose new value needs another start; they keep the old one. */
  readonly needsRestart: readonly string[];
}

const fixed: readonly (keyof ReloadOptions)[] = [
  'device',
  'softAddress',
  'devicePort',
  'gidIndex',
  'spinUs',
  'emptyPollsBeforeArm',
  'host',
  'port',
  'requestCert',
  'workers',
  'workerStrategy',
  'workerAffinity',
  'workerChannelSize',
  'senderChannelSize',
  'workerHeapMb',
];
const pems = ['cert', 'key', 'ca'] as const;

export interface ReloadPlan {
  /** As the server would have been started with. */
  readonly raw: ServerOptions;
  readonly options: ResolvedServerOptions;
  /** Whether TLS needs another context. */
  readonly hasNewPem: boolean;
  readonly result: ReloadResult;
}

function textOf(pem: Pem | undefined): string | undefined {
  return pem === undefined ? undefined : [pem].flat().map(String).join('\n');
}

/** Throws ERR_VERBENA_INVALID_OPTION when the new options are not allowed. */
export function planReload(
  raw: ServerOptions,
  options: ResolvedServerOptions,
  changes: ReloadOptions,
): ReloadPlan {
  const isChanged = (name: keyof ReloadOptions): boolean =>
    name in changes && changes[name] !== raw[name];
  const kept = Object.fromEntries(fixed.map((name) => [name, raw[name]]));
  const next = { ...raw, ...changes, ...kept, handler: raw.handler } as ServerOptions;
  const resolved = resolveServerOptions(next);
  const newPems = pems.filter((name) => textOf(next[name]) !== textOf(raw[name]));
  const keys = Object.keys(resolved) as (keyof ResolvedServerOptions)[];
  const changed = keys.filter((name) => resolved[name] !== options[name]);
  return {
    raw: next,
    options: resolved,
    hasNewPem: newPems.length > 0,
    result: { changed: [...newPems, ...changed], needsRestart: fixed.filter(isChanged) },
  };
}
