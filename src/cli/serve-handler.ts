// What `verbena serve` answers: requests are echoed, those of the method for it are swallowed.
import { discardMethod } from '../bench/workload.js';
import type { IncomingRequest } from '../index.js';

export default function serveHandler({
  payload,
  method,
}: Pick<IncomingRequest<unknown>, 'payload' | 'method'>): Uint8Array | undefined {
  return method === discardMethod ? undefined : payload;
}
