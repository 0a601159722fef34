// What the kernel says a device holds, from iproute2's `rdma resource show`.
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { testDevice } from './environment.js';

const kinds = ['pd', 'cq', 'qp', 'mr'] as const;
export type KernelCounts = Readonly<Record<(typeof kinds)[number] | 'ctx', number>>;

interface Shown extends KernelCounts {
  readonly ifname: string;
  /** The process that made an object; objects of the kernel itself have none. */
  readonly pid?: number;
}

// One shell for all questions: this process is large, and slow to fork in an emulated machine.
const script = 'while read -r what; do echo "$(rdma -j resource show $what)"; done';
const shell = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
const answers = createInterface({ input: shell.stdout })[Symbol.asyncIterator]();
shell.unref();
for (const stream of [shell.stdin, shell.stdout]) (stream as unknown as Socket).unref();

async function show(what: string): Promise<Shown[]> {
  shell.stdin.write(`${what}\n`);
  const answer = (await answers.next()) as IteratorResult<string, undefined>;
  return (JSON.parse(answer.value ?? '[]') as Shown[]).filter(
    ({ ifname }) => ifname === testDevice,
  );
}

/** Objects of all processes and of the kernel itself on the device of the tests. */
export async function kernelCounts(): Promise<KernelCounts> {
  const [device] = await show('');
  if (device === undefined) throw new Error(`rdma resource show has no ${testDevice}`);
  const { pd, cq, qp, mr, ctx } = device;
  return { pd, cq, qp, mr, ctx };
}

/** Objects of one process. */
export async function kernelCountsOf(pid: number): Promise<Omit<KernelCounts, 'ctx'>> {
  const shown = await Promise.all(kinds.map((kind) => show(kind)));
  const counts = shown.map((objects) => objects.filter((one) => one.pid === pid).length);
  const [pd = 0, cq = 0, qp = 0, mr = 0] = counts;
  return { pd, cq, qp, mr };
}
