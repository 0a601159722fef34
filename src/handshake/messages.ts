// The control messages: their schemas, what is refused with which code, and their encoding.
//
// Fields that a schema does not know are ignored, so that a later minor version can add some;
// fields that it knows must have the right type and range. What is incompatible raises
// PROTOCOL_VERSION.
import { z } from 'zod';
import { VerbenaError, isVerbenaErrorCode, type VerbenaErrorCode } from '../errors.js';

export const PROTOCOL_VERSION = 1;

/** Codes of `reject`; as an error they are prefixed with `ERR_VERBENA_`. */
export const rejectCodes = [
  'UNSUPPORTED_VERSION',
  'ALPN_REQUIRED',
  'MALFORMED_FRAME',
  'FRAME_TOO_LARGE',
  'INVALID_MESSAGE',
  'UNEXPECTED_MESSAGE',
  'PSN_IN_USE',
  'GID_FAMILY_MISMATCH',
  'RESOURCE_EXHAUSTED',
  'HANDSHAKE_TIMEOUT',
  'PROOF_MISMATCH',
  'DRAINING',
  'PORT_NOT_ACTIVE',
  'DEVICE_FATAL',
  'OVERUSE',
  'WORKER_LOST',
  'INTERNAL',
] as const;
export type RejectCode = (typeof rejectCodes)[number];

const MAX_24_BITS = 0xff_ffff;
const MAX_32_BITS = 0xffff_ffff;

const unsigned = (max: number, min = 0) => z.int().min(min).max(max);
const text = z.string().max(1024);

/** One side's queue pair as the other must know it. */
const endpoint = z.object({
  /** 0, 1 and 0xFFFFFF have meanings of their own on the wire. */
  qpn: unsigned(MAX_24_BITS - 1, 2),
  /** First packet sequence number that this side sends. */
  psn: unsigned(MAX_24_BITS),
  gid: z.string().regex(/^[0-9a-f]{32}$/, 'must be 32 hex digits'),
  lid: unsigned(0xffff),
  mtu: z.literal([256, 512, 1024, 2048, 4096]),
  maxRdAtomic: unsigned(255),
  maxDestRdAtomic: unsigned(255),
});

export const limits = {
  slots: { min: 1, max: 4096 },
  slotBytes: { min: 256, max: 1024 * 1024 },
  payloadBytes: { min: 1, max: 1024 * 1024 * 1024 },
  regionBytes: { min: 0, max: 2 ** 40 },
  requests: { min: 1, max: 4096 },
} as const;

const slots = unsigned(limits.slots.max, limits.slots.min);
const slotBytes = unsigned(limits.slotBytes.max, limits.slotBytes.min);
const payloadBytes = unsigned(limits.payloadBytes.max, limits.payloadBytes.min);
const regionBytes = unsigned(limits.regionBytes.max, limits.regionBytes.min);

const hello = z.object({
  type: z.literal('hello'),
  version: z.literal(PROTOCOL_VERSION),
  name: z.string().max(128),
  /** Wanted; the server may grant less. */
  slots,
  slotBytes,
  regionBytes: regionBytes.optional(),
  /** Largest response this client takes. */
  maxPayloadBytes: payloadBytes,
  /** Whether this client reads `retryAfterMs` in an error message. */
  readsRetryAfter: z.boolean().optional(),
  endpoint,
});

const welcome = z.object({
  type: z.literal('welcome'),
  clientId: unsigned(MAX_32_BITS),
  /** Granted, in both directions. */
  slots,
  slotBytes,
  /** Path MTU of both sides, in bytes. */
  mtu: endpoint.shape.mtu,
  /** Requests the client may have unanswered. */
  maxRequests: unsigned(limits.requests.max, limits.requests.min),
  /** Largest request the server takes. */
  maxPayloadBytes: payloadBytes,
  keepaliveSec: z.number().min(0.05).max(86_400),
  /** True: answers can say how long their handler took. */
  timing: z.boolean().optional(),
  endpoint,
});

const reject = z.object({
  type: z.literal('reject'),
  code: z.string().regex(/^[A-Z_]{1,64}$/),
  message: text,
  retryAfterMs: unsigned(86_400_000).optional(),
  /** With GID_FAMILY_MISMATCH: families that the server has. */
  families: z
    .array(z.enum(['ipv4', 'ipv6', 'ib']))
    .max(3)
    .optional(),
});

const ready = z.object({
  type: z.literal('ready'),
  region: z.object({ rkey: unsigned(MAX_32_BITS), length: regionBytes }).optional(),
});

const qpError = z.object({
  type: z.literal('qp-error'),
  /** State that the device reports. */
  state: z.string().max(16).optional(),
  /** Verbs status of the first failed work completion, or an asynchronous event. */
  status: z.string().max(64).optional(),
  message: text,
});

const message = z.discriminatedUnion('type', [
  hello,
  welcome,
  reject,
  ready,
  qpError,
  z.object({ type: z.literal('keepalive') }),
  z.object({ type: z.literal('drain'), timeoutMs: unsigned(86_400_000) }),
  z.object({ type: z.literal('bye'), reason: text }),
  z.object({ type: z.literal('bye-ack') }),
  z.object({ type: z.literal('bye-done') }),
]);

export type ControlMessage = z.infer<typeof message>;
export type MessageOf<T extends ControlMessage['type']> = Extract<ControlMessage, { type: T }>;
export type Hello = MessageOf<'hello'>;
export type Welcome = MessageOf<'welcome'>;
export type Ready = MessageOf<'ready'>;
export type Reject = MessageOf<'reject'>;
export type QpErrorMessage = MessageOf<'qp-error'>;

const utf8 = new TextDecoder('utf-8', { fatal: true });

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(body)) as unknown;
  } catch (cause) {
    throw new VerbenaError('ERR_VERBENA_MALFORMED_FRAME', 'a frame is not JSON in UTF-8', {
      cause,
    });
  }
}

// Another version's hello need not fit this version's schema: say so before complaining about its
// fields.
function checkVersion(value: unknown): void {
  const { type, version } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (type !== 'hello' || typeof version !== 'number' || version === PROTOCOL_VERSION) return;
  throw new VerbenaError(
    'ERR_VERBENA_UNSUPPORTED_VERSION',
    `protocol version ${version} is not spoken here, only ${PROTOCOL_VERSION}; ` +
      'upgrade the older side',
  );
}

/** The message in a frame's body; throws with the code of the refusal. */
export function parseMessage(body: Uint8Array): ControlMessage {
  const value = parseJson(body);
  checkVersion(value);
  const result = message.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue?.path.join('.') ?? '';
  throw new VerbenaError(
    'ERR_VERBENA_INVALID_MESSAGE',
    `a control message is invalid${where === '' ? '' : ` at ${where}`}: ` +
      (issue?.message ?? 'unknown type'),
  );
}

export function encodeMessage(value: ControlMessage): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** The error that a `reject` is for the side that receives it. */
export function rejectedError(rejected: Reject): VerbenaError {
  const code = `ERR_VERBENA_${rejected.code}`;
  const known: VerbenaErrorCode = isVerbenaErrorCode(code) ? code : 'ERR_VERBENA_INTERNAL';
  return new VerbenaError(known, `the peer refused (${rejected.code}): ${rejected.message}`, {
    retryAfterMs: rejected.retryAfterMs,
  });
}

const rejectable: ReadonlySet<string> = new Set(rejectCodes);

/**
 * The code that tells the peer why it is refused. What is not its fault, or not its business, is
 * INTERNAL.
 */
export function rejectCodeOf(error: VerbenaError): RejectCode {
  const code = error.code.slice('ERR_VERBENA_'.length);
  return rejectable.has(code) ? (code as RejectCode) : 'INTERNAL';
}
