// Types of check-demo.mjs for the tests.
import type { DemoResult } from '../src/cli/demo/result.js';

export function demoChecks(result: DemoResult): [what: string, holds: boolean][];
