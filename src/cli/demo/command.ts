// `verbena demo`: runs the demo, shows it, prints its result, and decides the exit code.
import { ExitCode } from '../failure.js';
import { untilSignal } from '../interruption.js';
import { Demo } from './coordinator.js';
import { isGood, summaryOf } from './result.js';
import { createView } from './view.js';

export interface DemoCommandOptions {
  readonly device: string;
  readonly clients: number;
  readonly requests: number;
  /** Length of the large payload, in bytes. */
  readonly size: number;
  readonly json: boolean;
}

/** Resolves with the exit code. Ctrl-C stops the processes first; a second one does not wait. */
export async function demoCommand(options: DemoCommandOptions): Promise<number> {
  using interruption = untilSignal();
  const demo = new Demo({
    device: options.device,
    clients: options.clients,
    requests: options.requests,
    largeBytes: options.size,
    signal: interruption.signal,
  });
  const view = createView(options.json ? process.stderr : process.stdout, demo.clients);
  const result = await demo.run(view);
  if (options.json) {
    for (const error of demo.errors) process.stderr.write(`verbena demo: ${error}\n`);
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } else {
    process.stdout.write(`\n${summaryOf(result, demo.errors)}\n`);
  }
  return interruption.exitCode ?? (isGood(result) ? ExitCode.ok : ExitCode.failure);
}
