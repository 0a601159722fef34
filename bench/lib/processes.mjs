// Processes of a benchmark, which are told what to do by messages and answer each of them.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Starts a script beside the one at `base`, with options of Node itself. */
export function start(base, script, execArgv = []) {
  return fork(fileURLToPath(new URL(script, base)), { execArgv });
}

/** The answer of a process; throws when it ends instead. */
export async function ask(child, message) {
  const answered = new AbortController();
  const { signal } = answered;
  try {
    const ended = once(child, 'exit', { signal }).then(([status]) => {
      throw new Error(`${child.spawnargs.at(-1)} ended with status ${status}`);
    });
    child.send(message);
    const [answer] = await Promise.race([once(child, 'message', { signal }), ended]);
    return answer;
  } finally {
    answered.abort();
  }
}

/** Ends processes, which do so when nobody can tell them anything any more. */
export async function end(children) {
  for (const child of children) child.disconnect();
  await Promise.all(children.map((child) => child.exitCode ?? once(child, 'exit')));
}

/** What this process took so far: of processors, and of memory, if none was collected meanwhile. */
export function spent() {
  const { heapUsed, external } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return { cpuSeconds: (user + system) / 1e6, heapBytes: heapUsed + external };
}
