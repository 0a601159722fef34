// Which processor each worker is bound to.
import { VerbenaError } from '../errors.js';

/**
 * `off`: the system decides. `auto`: each worker has one of the processors that the process may
 * use, and, if there are enough, the first of them is left to the main thread. A list: worker 0 has
 * the first, and so on, from the start again when there are more workers than processors.
 */
export type WorkerAffinity = 'off' | 'auto' | readonly number[];

/**
 * The processor of each worker, or none for all. `allowed`: those that the process may use. Throws
 * ERR_VERBENA_INVALID_OPTION when the list has another.
 */
export function processorsOf(
  affinity: WorkerAffinity,
  workers: number,
  allowed: readonly number[],
): (number | undefined)[] {
  if (affinity === 'off') return Array.from({ length: workers }, () => undefined);
  if (affinity !== 'auto') {
    const [wrong] = affinity.filter((processor) => !allowed.includes(processor));
    if (wrong !== undefined) throw notAllowedError(wrong, allowed);
    return Array.from({ length: workers }, (_, worker) => affinity[worker % affinity.length]);
  }
  const own = allowed.length > workers ? allowed.slice(1) : allowed;
  return Array.from({ length: workers }, (_, worker) => own[worker % own.length]);
}

function notAllowedError(processor: number, allowed: readonly number[]): VerbenaError {
  return new VerbenaError(
    'ERR_VERBENA_INVALID_OPTION',
    `workerAffinity names processor ${processor}, which this process may not use; it may use ` +
      `${allowed.join(', ')} (see taskset -cp $$)`,
  );
}
