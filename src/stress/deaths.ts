// The bad ends that clients can come to, and what must follow from each.
import { setupStages, type LoopKind, type SetupStage } from './client-messages.js';
import { pick } from '../random.js';

export const deathKinds = [
  'idle',
  'requesting',
  'reading',
  'writing',
  'handshake',
  'tlsCut',
  'qpError',
  'stopped',
] as const;
export type DeathKind = (typeof deathKinds)[number];

export interface Death {
  readonly kind: DeathKind;
  /** How far the set-up comes, when the client dies in it. */
  readonly stage: SetupStage;
  /** How long the client works before. */
  readonly afterMs: number;
}

const longestLifeMs = 60;

/** So many deaths, the same ones for the same source of randomness. */
export function planDeaths(random: () => number, count: number): Death[] {
  return Array.from({ length: count }, () => ({
    kind: pick(random, deathKinds),
    stage: pick(random, setupStages),
    afterMs: Math.floor(random() * longestLifeMs),
  }));
}

/** What a client is busy with when it is killed. */
export const busyWith: Readonly<Partial<Record<DeathKind, LoopKind>>> = {
  requesting: 'requesting',
  reading: 'reading',
  writing: 'writing',
};

/** How the server may say that the session ended. */
export const endsAtServer: Readonly<Record<DeathKind, readonly string[]>> = {
  idle: ['ERR_VERBENA_CONNECTION_LOST'],
  requesting: ['ERR_VERBENA_CONNECTION_LOST'],
  // The kernel takes a dead process's newest resources first: memory that was registered after the
  // queue pair goes before it, and a READ of it is refused, maybe before TLS tells of the end.
  reading: ['ERR_VERBENA_CONNECTION_LOST', 'ERR_VERBENA_QP_ERROR'],
  writing: ['ERR_VERBENA_CONNECTION_LOST'],
  handshake: ['ERR_VERBENA_CONNECTION_LOST'],
  tlsCut: ['ERR_VERBENA_CONNECTION_LOST'],
  qpError: ['ERR_VERBENA_QP_ERROR', 'ERR_VERBENA_PEER_QP_ERROR'],
  stopped: ['ERR_VERBENA_KEEPALIVE_TIMEOUT'],
};

/** How a client that lives on may say that its connection ended. */
export const endsAtClient: Readonly<Partial<Record<DeathKind, readonly string[]>>> = {
  // Whichever it notices first: that packets are not answered, or that the keepalive is silent.
  tlsCut: ['ERR_VERBENA_QP_ERROR', 'ERR_VERBENA_KEEPALIVE_TIMEOUT'],
  qpError: ['ERR_VERBENA_QP_ERROR', 'ERR_VERBENA_PEER_QP_ERROR'],
  stopped: ['ERR_VERBENA_CONNECTION_LOST', 'ERR_VERBENA_QP_ERROR', 'ERR_VERBENA_KEEPALIVE_TIMEOUT'],
};
