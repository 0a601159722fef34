// The soft device within a small receive buffer of its socket.
import { expect, it } from 'vitest';
import { demoChecks } from '../../../scripts/check-demo.mjs';
import type { DemoResult } from '../../../src/cli/demo/result.js';
import { verbena } from '../../helpers/process.js';

it("carries the demo within the kernel's default of 212,992 bytes", async () => {
  const env = { ...process.env, VERBENA_SOFT_LOCAL: 'udp', VERBENA_SOFT_BUFFER: '212992' };
  const { stdout } = await verbena(['demo', '--json'], { env, timeoutMs: 50_000 }).succeeded();
  const wrong = demoChecks(JSON.parse(stdout) as DemoResult).filter(([, holds]) => !holds);
  expect(wrong).toEqual([]);
});
