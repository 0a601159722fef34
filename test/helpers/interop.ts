// The two hosts of an interoperation test: the kernel's rxe in this network namespace, the soft
// device in `peer`, and the network between them.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { TestProcess } from './process.js';

/** Which device an end has, and so where it runs. */
export type Side = 'rxe' | 'soft';
export type Family = 'ipv4' | 'ipv6';

export const addresses: Readonly<Record<Side, Readonly<Record<Family, string>>>> = {
  rxe: { ipv4: '10.11.0.1', ipv6: 'fd11::1' },
  soft: { ipv4: '10.11.0.2', ipv6: 'fd11::2' },
};

const interfaces: Readonly<Record<Side, string>> = { rxe: 'vrb0', soft: 'vrb1' };
const inPeer = ['ip', 'netns', 'exec', 'peer'];

/** A command line that runs on a side's host. */
export function commandOn(side: Side, command: readonly string[]): [string, ...string[]] {
  return (side === 'soft' ? [...inPeer, ...command] : command) as [string, ...string[]];
}

const execute = promisify(execFile);

/** What netem does to packets both ways, such as `loss 1%`; an empty text for nothing. */
export async function disturbNetwork(netem: string): Promise<void> {
  for (const side of ['rxe', 'soft'] as const) {
    const options = netem === '' ? [] : ['netem', ...netem.split(' ')];
    const [program, ...args] = commandOn(side, [
      ...['tc', 'qdisc', 'replace', 'dev', interfaces[side], 'root'],
      ...(options.length === 0 ? ['pfifo'] : options),
    ]);
    await execute(program, args);
  }
}

/** rxe's path MTU is the largest that fits into the MTU of its interface. */
export async function setMtuOfRxe(bytes: number): Promise<void> {
  await execute('ip', ['link', 'set', interfaces.rxe, 'mtu', String(bytes)]);
}

export interface Order {
  readonly order: 'serve' | 'stopServing' | 'use';
  readonly environment?: Readonly<Record<string, string>>;
  readonly options?: Readonly<Record<string, unknown>>;
}

const script = resolve(import.meta.dirname, 'interop-end.mjs');

/** A process on one side that takes orders, one at a time. */
export class InteropEnd implements AsyncDisposable {
  readonly #process: TestProcess;

  constructor(side: Side) {
    const [program, ...args] = commandOn(side, [process.execPath, script]);
    this.#process = new TestProcess(program, args, { ipc: true, timeoutMs: 3_600_000 });
  }

  async do<T>(order: Order): Promise<T> {
    const { child, ended } = this.#process;
    const answered = once(child, 'message') as Promise<[{ result?: T; error?: string }]>;
    child.send(order);
    const gone = ended.then(({ stderr }): never => {
      throw new Error(`the end is gone: ${stderr}`);
    });
    const [{ result, error }] = await Promise.race([answered, gone]);
    if (error !== undefined) throw new Error(error);
    return result as T;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

/** Kinds and numbers of what is open on rxe: `pd`, `cq`, `qp`, `mr` and more. */
export async function rxeResources(): Promise<string> {
  const { stdout } = await execute('rdma', ['resource', 'show']);
  return stdout.trim();
}

/** The built library, for programs on the soft side, with what configures its device. */
export function softEnvironment(
  family: Family,
  more: Record<string, string> = {},
): Record<string, string> {
  return { VERBENA_SOFT_ADDR: addresses.soft[family], VERBENA_SOFT_ICRC: 'solve', ...more };
}
