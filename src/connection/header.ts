// The 16-byte little-endian header before each message of a SEND, and the 16-byte body of a
// rendezvous offer.

export const HEADER_BYTES = 16;
export const OFFER_BYTES = 16;

export const MessageType = {
  /** Body: HMAC of the handshake. The first message each way. */
  proof: 1,
  /** Word: method. */
  request: 2,
  /** Answer to `request`. */
  response: 3,
  /** Answer to `request`; word: status; body: text. */
  error: 4,
  /** The client no longer waits for `request`. */
  cancel: 5,
  /** Nothing but the credits in its header. */
  credit: 6,
  // 7 is kept for one-way messages.
  /**
   * Body: an offer, to be read by RDMA READ. Stands for a request, or with `OFFER_IS_RESPONSE` for
   * a response.
   */
  rendezvous: 8,
  /** The offer with this id may be withdrawn; word: 0 when it was read. */
  rendezvousDone: 9,
} as const;

/** Flag of `rendezvous`; word: method of a request. */
export const OFFER_IS_RESPONSE = 1;
/** Flag of `error`: milliseconds after which to try again go before the text. */
export const ERROR_HAS_RETRY_AFTER = 1;
export const RETRY_AFTER_BYTES = 4;
/**
 * Flag of a request, in whichever form: the answer is to say how long the handler took. And of that
 * answer; word: the time in units of 100 ns.
 */
export const TIMED = 2;

/** By type; a type that is not here is unknown. */
const allowedFlags: Readonly<Record<number, number>> = {
  [MessageType.proof]: 0,
  [MessageType.request]: TIMED,
  [MessageType.response]: TIMED,
  [MessageType.error]: ERROR_HAS_RETRY_AFTER,
  [MessageType.cancel]: 0,
  [MessageType.credit]: 0,
  [MessageType.rendezvous]: OFFER_IS_RESPONSE | TIMED,
  [MessageType.rendezvousDone]: 0,
};

/** Status of an `error` answer. Values from `STATUS_APPLICATION` on belong to the handler. */
export const RequestStatus = {
  handlerFailed: 1,
  cancelled: 2,
  timedOut: 3,
  exhausted: 4,
  draining: 5,
  responseTooLarge: 6,
  rendezvousFailed: 7,
} as const;
export const STATUS_APPLICATION = 0x1_0000;

const statusNames = Object.keys(RequestStatus) as (keyof typeof RequestStatus)[];

/** What an `error` answer of this status is called. */
export function requestStatusName(status: number): keyof typeof RequestStatus | 'application' {
  return statusNames.find((name) => RequestStatus[name] === status) ?? 'application';
}

/** A decoded header; one object is reused for all messages of a connection. */
export interface MessageHeader {
  type: number;
  flags: number;
  credits: number;
  id: number;
  length: number;
  /** Method or status. */
  word: number;
}

export function emptyHeader(): MessageHeader {
  return { type: 0, flags: 0, credits: 0, id: 0, length: 0, word: 0 };
}

export function writeHeader(
  view: DataView,
  at: number,
  type: number,
  flags: number,
  id: number,
  length: number,
  word: number,
): void {
  view.setUint8(at, type);
  view.setUint8(at + 1, flags);
  view.setUint16(at + 2, 0, true);
  view.setUint32(at + 4, id, true);
  view.setUint32(at + 8, length, true);
  view.setUint32(at + 12, word, true);
}

/** Credits are known only when the SEND leaves. */
export function writeCredits(view: DataView, at: number, credits: number): void {
  view.setUint16(at + 2, credits, true);
}

/**
 * Decodes the header at `at` into `header` and checks it against the bytes that arrived, up to
 * `end`. Returns what is wrong, or undefined.
 */
export function readHeader(
  view: DataView,
  at: number,
  end: number,
  header: MessageHeader,
): string | undefined {
  if (end - at < HEADER_BYTES) return `${end - at} bytes are too few for a message header`;
  header.type = view.getUint8(at);
  header.flags = view.getUint8(at + 1);
  header.credits = view.getUint16(at + 2, true);
  header.id = view.getUint32(at + 4, true);
  header.length = view.getUint32(at + 8, true);
  header.word = view.getUint32(at + 12, true);
  const allowed = allowedFlags[header.type];
  if (allowed === undefined) return `message type ${header.type} is unknown`;
  if ((header.flags & ~allowed) !== 0) return `flags ${header.flags} are unknown`;
  if (header.length > end - at - HEADER_BYTES) {
    return `a message announces ${header.length} bytes, ${end - at - HEADER_BYTES} arrived`;
  }
  return undefined;
}

/** The body of an `error`: its text, cut to `maxBytes` with what goes before it. */
export function encodeErrorBody(
  text: string,
  retryAfterMs: number | undefined,
  maxBytes: number,
): Uint8Array | undefined {
  if (retryAfterMs === undefined) {
    return text === '' ? undefined : Buffer.from(text).subarray(0, maxBytes);
  }
  const body = Buffer.allocUnsafe(RETRY_AFTER_BYTES + Buffer.byteLength(text));
  body.writeUInt32LE(retryAfterMs, 0);
  body.write(text, RETRY_AFTER_BYTES);
  return body.subarray(0, maxBytes);
}

/** What the receiver of an offer reads. The address is an offset into the offered buffer. */
export interface Offer {
  rkey: number;
  length: number;
  offset: number;
}

const TWO_TO_32 = 2 ** 32;

export function encodeOffer(offer: Offer): Uint8Array {
  const body = new Uint8Array(OFFER_BYTES);
  const view = new DataView(body.buffer);
  view.setUint32(0, offer.rkey, true);
  view.setUint32(4, offer.length, true);
  view.setUint32(8, offer.offset % TWO_TO_32, true);
  view.setUint32(12, Math.floor(offer.offset / TWO_TO_32), true);
  return body;
}

/** The offer in a message body, or undefined when its size or its offset is impossible. */
export function decodeOffer(view: DataView, at: number, length: number): Offer | undefined {
  if (length !== OFFER_BYTES) return undefined;
  const offset = view.getUint32(at + 8, true) + view.getUint32(at + 12, true) * TWO_TO_32;
  if (!Number.isSafeInteger(offset)) return undefined;
  return { rkey: view.getUint32(at, true), length: view.getUint32(at + 4, true), offset };
}
