// Starts the demo's processes and makes sure that each one has ended, whatever happens.
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const graceMs = 2000;
const keptOutputChars = 4000;

/** One child process with typed messages. */
export class DemoProcess<In, Out> {
  readonly #child: ChildProcess;
  #output = '';
  /** Resolves when the process has ended: how, in words, or undefined when it exited with 0. */
  readonly ended: Promise<string | undefined>;

  constructor(
    script: 'server-process.js' | 'client-process.js',
    onMessage: (message: Out) => void,
  ) {
    this.#child = fork(fileURLToPath(new URL(script, import.meta.url)), [], {
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

  /** Ends the process: asks first, insists after two seconds. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const insist = setTimeout(() => this.#child.kill('SIGKILL'), graceMs);
    await this.ended;
    clearTimeout(insist);
  }
}
