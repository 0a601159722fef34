// The child processes that a program has had, and the proof that none of them is left.
import { childrenOf, eventually, isRunning, type TestProcess } from './process.js';

export class Family {
  readonly #pids = new Set<number>();

  constructor(private readonly parent: TestProcess) {}

  /** Remembers every child that there is now. */
  note(): this {
    for (const { pid } of this.#children()) this.#pids.add(pid);
    return this;
  }

  get running(): number[] {
    return [...this.#pids].filter(isRunning);
  }

  gone(): Promise<void> {
    return eventually(() => this.running.length === 0, 5000, 'the end of the children');
  }

  /** Process id of a child that runs the script. */
  async childNamed(script: string): Promise<number> {
    const find = (): number | undefined =>
      this.#children().find(({ command }) => command.includes(script))?.pid;
    await eventually(() => find() !== undefined, 10_000, `a process of ${script}`);
    return find() ?? 0;
  }

  #children(): ReturnType<typeof childrenOf> {
    return childrenOf(this.parent.child.pid ?? 0);
  }
}
