// Runs of vitest for the scripts: its arguments, and how many tests passed and failed.
import { existsSync, readFileSync } from 'node:fs';
import { tool } from './run.mjs';

/** The command that prints what happens as `reporter` does, and leaves its counts in `report`. */
export function vitestCommand(report, reporter, ...args) {
  const reporters = [`--reporter=${reporter}`, '--reporter=json', `--outputFile.json=${report}`];
  return [tool('vitest'), 'run', ...reporters, ...args];
}

/**
 * The counts of a run that ended with `code`. Whatever did not pass failed: a skipped test too, a
 * file that did not load, a stray rejection.
 */
export function vitestCounts(report, code) {
  if (!existsSync(report)) return { passed: 0, failed: 1 };
  const { numTotalTests, numPassedTests } = JSON.parse(readFileSync(report, 'utf8'));
  const notPassed = numTotalTests - numPassedTests;
  return { passed: numPassedTests, failed: notPassed > 0 || code === 0 ? notPassed : 1 };
}
