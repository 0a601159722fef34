// The demo: ten client processes at once, checked to the byte.
import { expect, it } from 'vitest';
import { demoChecks } from '../../../scripts/check-demo.mjs';
import type { DemoResult } from '../../../src/cli/demo/result.js';
import { verbena } from '../../helpers/process.js';

it('connects 10 clients, checks all they do, and leaves nothing registered', async () => {
  const demo = verbena(['demo', '--json'], { timeoutMs: 50_000 });
  const { stdout } = await demo.succeeded();
  expect(stdout.trim().split('\n')).toHaveLength(1);
  const result = JSON.parse(stdout) as DemoResult;
  const wrong = demoChecks(result).filter(([, holds]) => !holds);
  expect(wrong).toEqual([]);
  expect(Object.keys(result)).toEqual([
    'device',
    'clients',
    'connected',
    'uniquePsns',
    'requests',
    'errors',
    'bytesVerified',
    'latencyUs',
    'requestsPerSecond',
    'leaked',
  ]);
});
