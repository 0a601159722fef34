// The messages between the demo and its server and client processes, over Node's IPC channel.

/** Registered objects that a process still holds. */
export interface LiveObjects {
  readonly pd: number;
  readonly cq: number;
  readonly qp: number;
  readonly mr: number;
}

export interface ServerOrders {
  readonly cert: string;
  readonly key: string;
  readonly maxConnections: number;
  readonly maxPayloadBytes: number;
}

export interface ClientOrders {
  readonly name: string;
  readonly port: number;
  readonly ca: string;
  /** Echo requests to make, besides the large one. */
  readonly requests: number;
  /** Length of the payload that goes both ways. */
  readonly largeBytes: number;
}

export type ToServer =
  { readonly type: 'start'; readonly orders: ServerOrders } | { readonly type: 'finish' };

export type FromServer =
  | { readonly type: 'listening'; readonly device: string; readonly port: number }
  | { readonly type: 'sessionStarted'; readonly localPsn: number; readonly remotePsn: number }
  /** Sent once every session has ended, and the server with them. */
  | { readonly type: 'report'; readonly afterSessions: LiveObjects; readonly atEnd: LiveObjects }
  | { readonly type: 'failed'; readonly message: string };

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
