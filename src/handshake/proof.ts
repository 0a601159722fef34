// The proof that a queue pair belongs to a TLS session: an HMAC over the handshake, keyed by the
// TLS exporter (RFC 5705).
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

const EXPORTER_LABEL = 'EXPORTER-verbena-queue-pair';
const KEY_BYTES = 32;
export const PROOF_BYTES = 32;

export type ProofSide = 'client' | 'server';

/** Key that only the two ends of this TLS session can derive. */
export function exportProofKey(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(KEY_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
}

/**
 * What `side` sends as its first RDMA message. `hello` and `welcome` are the raw bodies of their
 * frames.
 */
export function makeProof(
  key: Uint8Array,
  side: ProofSide,
  hello: Uint8Array,
  welcome: Uint8Array,
): Buffer {
  const mac = createHmac('sha256', key);
  mac.update(`verbena ${side}\n${hello.length} ${welcome.length}\n`);
  mac.update(hello);
  mac.update(welcome);
  return mac.digest();
}

export function proofMatches(expected: Uint8Array, received: Uint8Array): boolean {
  return received.length === expected.length && timingSafeEqual(expected, received);
}
