// The messages between the demo and its client processes, over Node's IPC channel.
import type { LiveObjects } from '../../processes/live-objects.js';
import type { WorkOrders } from '../../stress/work.js';

export interface ClientOrders extends WorkOrders {
  readonly name: string;
  readonly device: string;
  readonly port: number;
  readonly ca: string;
}

export type ToClient = { readonly type: 'start'; readonly orders: ClientOrders };

export type FromClient =
  | { readonly type: 'connected'; readonly localPsn: number; readonly remotePsn: number }
  | { readonly type: 'progress'; readonly requests: number; readonly bytesVerified: number }
  | {
      readonly type: 'done';
      readonly requests: number;
      readonly bytesVerified: number;
      readonly latenciesUs: readonly number[];
      readonly live: LiveObjects;
    }
  | { readonly type: 'failed'; readonly message: string; readonly live: LiveObjects };
