// The messages between a server process and the one that started it.
import type { ServerOptions } from '../index.js';
import type { LiveObjects } from '../processes/live-objects.js';
import type { Usage } from './usage.js';

/** Options of the server, whose handler echoes. */
export type ServerOrders = Omit<ServerOptions, 'handler' | 'host' | 'port' | 'cert' | 'key'> & {
  readonly cert: string;
  readonly key: string;
};

export type ToServer =
  | { readonly type: 'start'; readonly orders: ServerOrders }
  | { readonly type: 'usage' }
  | { readonly type: 'finish' };

export interface ServerUsage extends Usage {
  readonly sessions: number;
}

export type FromServer =
  | { readonly type: 'listening'; readonly device: string; readonly port: number }
  | {
      readonly type: 'sessionStarted';
      readonly name: string;
      readonly localPsn: number;
      readonly remotePsn: number;
    }
  | { readonly type: 'sessionEnded'; readonly name: string; readonly code: string }
  | { readonly type: 'refused'; readonly code: string; readonly message: string }
  | { readonly type: 'usage'; readonly usage: ServerUsage }
  /** Sent once every session has ended, and the server with them. */
  | { readonly type: 'report'; readonly leaked: LiveObjects }
  | { readonly type: 'failed'; readonly message: string };
