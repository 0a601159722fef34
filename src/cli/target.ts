// Reads `HOST[:PORT]` as people write it.
import { isIPv6 } from 'node:net';
import { defaultPort } from '../config/settings.js';
import { CliFailure, ExitCode } from './failure.js';

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** Accepts `host`, `host:port`, `[v6]`, `[v6]:port` and a bare IPv6 address. */
export function parseTarget(text: string): Target {
  if (isIPv6(text)) return { host: text, port: defaultPort };
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<name>[^:[\]]+))(?::(?<port>\d{1,5}))?$/.exec(text);
  const host = match?.groups?.['v6'] ?? match?.groups?.['name'];
  const port = Number(match?.groups?.['port'] ?? defaultPort);
  const badAddress = match?.groups?.['v6'] !== undefined && !isIPv6(match.groups['v6']);
  if (host === undefined || badAddress || port < 1 || port > 65_535) {
    throw new CliFailure(`"${text}" is no server`, {
      hint: 'write it as host, host:port or [ipv6]:port, such as 127.0.0.1:4791',
      exitCode: ExitCode.usage,
    });
  }
  return { host, port };
}
