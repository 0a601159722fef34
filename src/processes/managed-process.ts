// The parent's end of a channel between processes, and an end of the child that is certain.
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface ManagedProcessOptions {
  /** Options of Node itself, such as `--expose-gc`. */
  readonly execArgv?: readonly string[];
}

const graceMs = 2000;
const keptOutputChars = 4000;

/** Resolves with true when `promise` settles in time, else with false. */
export async function settlesWithin(
  promise: Promise<unknown>,
  timeoutMs: number,
): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One child process with typed messages. */
export class ManagedProcess<In, Out> {
  readonly #child: ChildProcess;
  #output = '';
  /** Resolves when the process has ended: how, in words, or undefined when it exited with 0. */
  readonly ended: Promise<string | undefined>;

  constructor(
    script: URL,
    onMessage: (message: Out) => void,
    { execArgv = [] }: ManagedProcessOptions = {},
  ) {
    this.#child = fork(fileURLToPath(script), [], {
      execArgv: [...process.execArgv, ...execArgv],
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-keptOutputChars);
      });
    }
    this.#child.on('message', (message) => onMessage(message as Out));
    this.ended = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(`could not start: ${error.message}`));
      this.#child.once('close', (code, signal) => {
        if (code === 0) resolve(undefined);
        else resolve(signal === null ? `exited with status ${code}` : `was ended by ${signal}`);
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The last of what the process wrote to stdout and stderr. */
  get output(): string {
    return this.#output.trim();
  }

  send(message: In): void {
    // A process that has just died cannot be told; `ended` reports that.
    if (this.#child.connected) this.#child.send(message as object, () => undefined);
  }

  /** Sends a signal; nothing happens when the process has ended. */
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends the process: asks first, insists after two seconds. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const insist = setTimeout(() => this.#child.kill('SIGKILL'), graceMs);
    await this.ended;
    clearTimeout(insist);
  }
}
