// Runs of `verbena stress` for tests: what must be on stdout, and processes with a fault to find.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import type { StressResult } from '../../src/stress/result.js';
import { testDevice, timeScale } from './environment.js';
import { repository, verbena, type TestProcess } from './process.js';

/**
 * Dozens of processes start and end in a scenario: a loaded machine is slow, not wrong. For
 * `vi.setConfig`.
 */
export const patience = { testTimeout: 150_000 * timeScale };

export const nothing = { pd: 0, cq: 0, qp: 0, mr: 0 };
const keys = [
  ...['scenario', 'passed', 'device', 'server', 'judged', 'clients', 'uniquePsns', 'requests'],
  ...['bytesVerified', 'errors', 'provoked', 'leaked', 'seed', 'interrupted', 'seconds', 'details'],
];

export function stress(args: readonly string[], env: NodeJS.ProcessEnv = {}): TestProcess {
  return verbena(['stress', ...args, '--device', testDevice, '--json'], {
    env: { ...process.env, ...env },
    timeoutMs: 140_000 * timeScale,
  });
}

/** The one line that must be on stdout, whatever happened. */
export function resultOf(stdout: string): StressResult {
  expect(stdout.trim().split('\n')).toHaveLength(1);
  const result = JSON.parse(stdout) as StressResult;
  expect(Object.keys(result)).toEqual(keys);
  return result;
}

export async function passes(...args: string[]): Promise<StressResult> {
  const { stdout } = await stress(args).succeeded();
  const result = resultOf(stdout);
  expect(result).toMatchObject({ scenario: args[0], passed: true, errors: 0, leaked: nothing });
  expect(result.uniquePsns).toBe(result.clients);
  expect(result.bytesVerified).toBeGreaterThan(0);
  return result;
}

export async function fails(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ readonly result: StressResult; readonly stderr: string }> {
  const { code, stdout, stderr } = await stress(args, env).ended;
  expect(code).toBe(1);
  const result = resultOf(stdout);
  expect(result.passed).toBe(false);
  return { result, stderr };
}

/** Makes one of the scenario's processes faulty. */
export function fault(
  name: string,
  script: 'server-process.js' | 'client-process.js',
): NodeJS.ProcessEnv {
  const preload = pathToFileURL(join(repository, 'test/helpers/faulty-process.mjs'));
  return { NODE_OPTIONS: `--import ${preload.href}`, FAULT: name, FAULTY_SCRIPT: script };
}
