// Runs of `verbena bench` against a server in the test's own process.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import type { BenchResult } from '../../src/bench/result.js';
import type { Server } from '../../src/index.js';
import { expectDocumented } from './bench-schema.js';
import { testDevice, timeScale } from './environment.js';
import { verbena, type TestProcess } from './process.js';
import { expectNothingLeft, testCertificate } from './verbena.js';

export interface BenchRuns {
  readonly bench: (port: number, args: readonly string[]) => TestProcess;
  /** The one line that must be on stdout, whatever happened. */
  readonly resultOf: (stdout: string) => BenchResult;
  /** A run without any error. */
  readonly measure: (server: Server, ...args: string[]) => Promise<BenchResult>;
  /** One that says that something was wrong. */
  readonly fails: (
    port: number,
    ...args: string[]
  ) => Promise<{ readonly result: BenchResult; readonly stderr: string }>;
  /** Path of a file that goes after the last test. */
  readonly file: (name: string) => string;
}

/** For a test file to call once: it makes what the runs need, and looks after each test. */
export function benchRuns(): BenchRuns {
  let folder: string;
  const file = (name: string): string => join(folder, name);
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'verbena-bench-'));
    writeFileSync(file('ca.pem'), (await testCertificate()).ca);
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  afterEach(() => expectNothingLeft());

  function bench(port: number, args: readonly string[]): TestProcess {
    const target = [`127.0.0.1:${port}`, '--ca', file('ca.pem'), '--device', testDevice];
    const patience = ['--timeout', String(5000 * timeScale)];
    return verbena(['bench', ...target, ...patience, '--json', ...args]);
  }

  function resultOf(stdout: string): BenchResult {
    expect(stdout.trim().split('\n')).toHaveLength(1);
    const result = JSON.parse(stdout) as BenchResult;
    expectDocumented(result);
    return result;
  }

  return {
    bench,
    resultOf,
    file,
    async measure(server, ...args) {
      const { stdout } = await bench(server.address().port, args).succeeded();
      const result = resultOf(stdout);
      expect(result).toMatchObject({ complete: true, errors: 0, unfinished: 0, unsent: 0 });
      return result;
    },
    async fails(port, ...args) {
      const { code, stdout, stderr } = await bench(port, args).ended;
      expect(code).toBe(1);
      return { result: resultOf(stdout), stderr };
    },
  };
}
