// `verbena demo`: runs the demo, shows it, prints its result, and decides the exit code.
import { ExitCode } from '../failure.js';
import { Demo } from './coordinator.js';
import { isGood, summaryOf } from './result.js';
import { createView } from './view.js';

export interface DemoCommandOptions {
  readonly clients: number;
  readonly requests: number;
  /** Length of the large payload, in bytes. */
  readonly size: number;
  readonly json: boolean;
}

const interruptions = { SIGINT: ExitCode.interrupted, SIGTERM: ExitCode.terminated } as const;

/** Resolves with the exit code. Ctrl-C stops the processes first; a second one does not wait. */
export async function demoCommand(options: DemoCommandOptions): Promise<number> {
  const stop = new AbortController();
  let interrupted: number | undefined;
  const handlers = (['SIGINT', 'SIGTERM'] as const).map((signal) => {
    const handler = (): void => {
      if (interrupted !== undefined) process.exit(interruptions[signal]);
      interrupted = interruptions[signal];
      stop.abort();
    };
    process.on(signal, handler);
    return () => process.off(signal, handler);
  });
  const demo = new Demo({
    clients: options.clients,
    requests: options.requests,
    largeBytes: options.size,
    signal: stop.signal,
  });
  try {
    const result = await demo.run(
      createView(options.json ? process.stderr : process.stdout, demo.clients),
    );
    if (options.json) {
      for (const error of demo.errors) process.stderr.write(`verbena demo: ${error}\n`);
      process.stdout.write(`${JSON.stringify(result)}\n`);
    } else {
      process.stdout.write(`\n${summaryOf(result, demo.errors)}\n`);
    }
    return interrupted ?? (isGood(result) ? ExitCode.ok : ExitCode.failure);
  } finally {
    for (const remove of handlers) remove();
  }
}
