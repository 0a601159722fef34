// A session as its users see it: those who listen to the server, and request handlers.
import type { EventEmitter } from 'node:events';
import type { PeerCertificate } from 'node:tls';
import type { OwnerNode } from '../rdma/registry.js';

export interface SessionEvents {
  /**
   * The client wrote to the region with an immediate: its value, and the number of bytes that came
   * with it. A write of more than 256 KiB goes in pieces of that size, and the last one counts.
   * With workers only the session that handlers see has this event.
   */
  immediate: [value: number, byteLength: number];
}

/** A connected client. */
export interface Session extends EventEmitter<SessionEvents> {
  /** Unique among the server's live sessions; not reused soon. */
  readonly id: number;
  /** What the client calls itself; not verified. */
  readonly name: string;
  /** Address and port of the client's TLS connection. */
  readonly remoteAddress: string;
  /** First packet sequence number of each direction, 24 bits. */
  readonly localPsn: number;
  readonly remotePsn: number;
  /** Number of the server's queue pair for this client, 24 bits. */
  readonly qpn: number;
  readonly isOpen: boolean;
  /** The client's certificate, verified by TLS; undefined unless the server has `requestCert`. */
  readonly certificate: PeerCertificate | undefined;
  /** When the set-up was finished, in milliseconds since the epoch. */
  readonly connectedAtMs: number;
  /** The worker that serves it; undefined when the server has no workers. */
  readonly worker: number | undefined;
  /** Requests whose handler has not answered. */
  readonly requestsInWork: number;
  /** Requests taken and answered so far, and the time that they took together. */
  readonly requestsAnswered: number;
  readonly requestTimeMs: number;
  /**
   * What the client writes and reads with one-sided operations: plain memory without locks. Empty
   * when the session has no region, and, with workers, outside of its worker: handlers have it.
   */
  readonly region: Uint8Array;
  /** Its native objects, by what was made from what. */
  resources(): OwnerNode;
  /**
   * Finishes requests in work, closes in order; resolves when everything of the session is
   * released.
   */
  close(): Promise<void>;
}

/** What the control half knows of a client, and its handlers may ask for. */
export interface SessionIdentity {
  readonly name: string;
  readonly remoteAddress: string;
  readonly certificate: PeerCertificate | undefined;
}
