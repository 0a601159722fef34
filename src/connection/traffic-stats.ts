// Counters of the data path, shared by all connections of one server or client.

/** Why a request was answered with an error. */
export const errorAnswerKinds = [
  'application',
  'handlerFailed',
  'cancelled',
  'timedOut',
  'exhausted',
  'draining',
  'responseTooLarge',
  'rendezvousFailed',
] as const;
export type ErrorAnswerKind = (typeof errorAnswerKinds)[number];

export interface TrafficStats {
  /** SEND work requests; each carries one or more messages. */
  sendsPosted: number;
  messagesSent: number;
  /** SENDs that carried nothing but credits. */
  creditMessagesSent: number;
  /** Times that sending had to stop until the peer returned credits or a slot came free. */
  creditStalls: number;
  receivesCompleted: number;
  messagesReceived: number;
  /** Bytes of SENDs, headers included. */
  bytesSent: number;
  bytesReceived: number;
  /** Requests begun, and how they ended. */
  requests: number;
  responses: number;
  requestErrors: number;
  requestTimeouts: number;
  requestsCancelled: number;
  /** Requests taken whose session ended before they were answered. */
  requestsAbandoned: number;
  /** Answers that wait for the client to return credits, or to read others before them. */
  answersWaiting: number;
  /** `requestErrors` of a server, by reason. */
  readonly errorAnswers: Record<ErrorAnswerKind, number>;
  /** Payloads offered for RDMA READ, and those never released in time. */
  offers: number;
  offersExpired: number;
  /** Payloads read from the peer. */
  pulls: number;
  bytesPulled: number;
  /** One-sided operations. */
  writes: number;
  reads: number;
  atomics: number;
  immediates: number;
}

export function newTrafficStats(): TrafficStats {
  return {
    sendsPosted: 0,
    messagesSent: 0,
    creditMessagesSent: 0,
    creditStalls: 0,
    receivesCompleted: 0,
    messagesReceived: 0,
    bytesSent: 0,
    bytesReceived: 0,
    requests: 0,
    responses: 0,
    requestErrors: 0,
    requestTimeouts: 0,
    requestsCancelled: 0,
    requestsAbandoned: 0,
    answersWaiting: 0,
    errorAnswers: {
      application: 0,
      handlerFailed: 0,
      cancelled: 0,
      timedOut: 0,
      exhausted: 0,
      draining: 0,
      responseTooLarge: 0,
      rendezvousFailed: 0,
    },
    offers: 0,
    offersExpired: 0,
    pulls: 0,
    bytesPulled: 0,
    writes: 0,
    reads: 0,
    atomics: 0,
    immediates: 0,
  };
}
