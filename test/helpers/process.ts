// Child processes for tests: captured output, waits with a limit, and an end that is certain.
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { expect } from 'vitest';
import { codeOf } from '../../src/errors.js';
import { timeScale } from './environment.js';

export const repository = resolve(import.meta.dirname, '../..');
export const cli = resolve(repository, 'dist/cli/main.js');

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** The process is killed, and `ended` rejects, when it takes longer. Default 30 s. */
  readonly timeoutMs?: number;
  readonly cwd?: string;
  /** Whether messages can be sent to and from the process, which must be Node. */
  readonly ipc?: boolean;
}

/** A process whose output can be waited for; `await using` ends it with the test. */
export class TestProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';
  readonly #command: string;
  readonly #waiters = new Set<() => void>();
  #closed = false;

  constructor(command: string, args: readonly string[], options: StartOptions = {}) {
    this.#command = [command, ...args].join(' ');
    const env = options.env ?? process.env;
    this.child = spawn(command, args, {
      env,
      // A group of its own, so that what it started can be ended with it.
      detached: true,
      cwd: options.cwd ?? repository,
      stdio: ['ignore', 'pipe', 'pipe', ...(options.ipc === true ? ['ipc' as const] : [])],
      serialization: 'advanced',
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.#wake();
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.#wake();
    });
    const timeoutMs = (options.timeoutMs ?? 30_000) * timeScale;
    this.ended = new Promise((resolveEnded, reject) => {
      const timer = setTimeout(() => {
        this.#killGroup();
        reject(new Error(`${this.#describe()} did not end within ${timeoutMs} ms`));
      }, timeoutMs);
      this.child.once('error', reject);
      this.child.once('close', (code, signal) => {
        clearTimeout(timer);
        this.#closed = true;
        this.#wake();
        resolveEnded({ code, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
    // A test that waits for output only must not fail for a rejection that it never looks at.
    this.ended.catch(() => undefined);
  }

  /** Resolves with the match once the output matches; rejects when the process ends before. */
  waitFor(pattern: RegExp, stream: 'stdout' | 'stderr' = 'stdout'): Promise<RegExpExecArray> {
    return new Promise((resolveMatch, reject) => {
      const look = (): void => {
        const match = pattern.exec(this[stream]);
        if (match === null && !this.#closed) return;
        this.#waiters.delete(look);
        if (match !== null) resolveMatch(match);
        else reject(new Error(`${this.#describe()} ended without printing ${String(pattern)}`));
      };
      this.#waiters.add(look);
      look();
    });
  }

  /** The result of a process that must exit with status 0. */
  async succeeded(): Promise<Ended> {
    const ended = await this.ended;
    if (ended.code === 0) return ended;
    throw new Error(`${this.#describe()} ended with ${String(ended.code ?? ended.signal)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#killGroup();
    await this.ended.catch(() => undefined);
  }

  #killGroup(): void {
    try {
      if (this.child.pid !== undefined) process.kill(-this.child.pid, 'SIGKILL');
    } catch (error) {
      // The whole group has ended already.
      if (codeOf(error) !== 'ESRCH') throw error;
    }
  }

  #wake(): void {
    for (const look of [...this.#waiters]) look();
  }

  #describe(): string {
    return `\`${this.#command}\` (stdout: ${this.stdout}; stderr: ${this.stderr})`;
  }
}

/** `verbena` with the arguments given, from the built package. */
export function verbena(args: readonly string[], options?: StartOptions): TestProcess {
  return new TestProcess(process.execPath, [cli, ...args], options);
}

/** One line for people, whose text matches, and no stack; stdout is empty. */
export function expectOneLine({ stdout, stderr }: Ended, pattern: RegExp): void {
  // Log entries are JSON; warnings are one line each.
  const lines = stderr
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('{') && !/^verbena: warning: /.test(line));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(pattern);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(stdout).toBe('');
}

/** A TCP port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolveListening) => server.listen(0, '127.0.0.1', resolveListening));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolveClosed) => server.close(resolveClosed));
  return port;
}

// Whether something listens in the network namespace of the process.
function isListening(port: number, pid: number | undefined): boolean {
  const wanted = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} \\S+ 0A `);
  return ['tcp', 'tcp6'].some((table) => {
    try {
      return wanted.test(readFileSync(`/proc/${pid ?? 'self'}/net/${table}`, 'utf8'));
    } catch {
      // It ended while we looked.
      return false;
    }
  });
}

/**
 * Waits until some program listens on a TCP port. Programs that we did not write do not say when
 * they do, and take a trial connection for their client, so the kernel's table is read.
 */
export async function waitUntilListening(port: number, by: TestProcess): Promise<void> {
  const { pid } = by.child;
  const ended = (): boolean => by.child.exitCode !== null;
  await eventually(() => isListening(port, pid) || ended(), 10_000, `a listener on port ${port}`);
  if (ended()) throw new Error(`it ended instead of listening: ${by.stdout} ${by.stderr}`);
}

/** Live child processes of a process, with their command lines. */
export function childrenOf(pid: number): { readonly pid: number; readonly command: string }[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter((text) => text !== '')
    .map((text) => ({ pid: Number(text), command: commandOf(Number(text)) }));
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    // It ended while we looked.
    return '';
  }
}

/** True while the process runs; a zombie, which only waits for its parent, does not. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Waits until `holds` does, for at most `limitMs`; for what has no event to listen to. */
export async function eventually(
  holds: () => boolean,
  limitMs: number,
  what: string,
): Promise<void> {
  const scaledMs = limitMs * timeScale;
  const deadline = performance.now() + scaledMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${scaledMs} ms`);
    await new Promise((resolveLater) => setTimeout(resolveLater, 5));
  }
}
