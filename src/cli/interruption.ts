// Ctrl-C and SIGTERM for commands that clean up first: one is obeyed in order, the next at once.
import { ExitCode } from './failure.js';

const exitCodes = { SIGINT: ExitCode.interrupted, SIGTERM: ExitCode.terminated } as const;
const signals = ['SIGINT', 'SIGTERM'] as const;

export interface Interruption extends Disposable {
  /** Aborted when the first signal arrives. */
  readonly signal: AbortSignal;
  /** The status to exit with once all is cleaned up; undefined when there was no signal. */
  readonly exitCode: number | undefined;
}

/** Listens until it is disposed of. A second signal ends the process without waiting. */
export function untilSignal(): Interruption {
  const stop = new AbortController();
  let exitCode: number | undefined;
  const onSignal = (signal: (typeof signals)[number]): void => {
    if (exitCode !== undefined) process.exit(exitCodes[signal]);
    exitCode = exitCodes[signal];
    stop.abort();
  };
  for (const signal of signals) process.on(signal, onSignal);
  return {
    signal: stop.signal,
    get exitCode() {
      return exitCode;
    },
    [Symbol.dispose]: () => {
      for (const signal of signals) process.off(signal, onSignal);
    },
  };
}
