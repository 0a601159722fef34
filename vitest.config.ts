// Test projects: `unit` runs the sources alone; `integration` runs built programs and processes.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    coverage: { include: ['src/**/*.ts'], reportsDirectory: 'coverage' },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          testTimeout: 10_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          // One file at a time: each starts processes that measure latencies and hold local addresses.
          fileParallelism: false,
          pool: 'forks',
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // A loaded machine is slow, not wrong; tests with a deadline of their own name it.
          expect: { poll: { timeout: 5_000 } },
        },
      },
    ],
  },
});
