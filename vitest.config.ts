// Test projects: `unit` runs the sources alone; `integration` runs built programs and processes;
// `interop` does so against the kernel's rxe, under scripts/with-rxe.sh --netns.
import { defineConfig } from 'vitest/config';

/** Both devices at once: it needs rxe0, and a second host. */
const interop = {
  test: {
    name: 'interop',
    include: ['test/rxe/**/*.test.ts'],
    fileParallelism: false,
    pool: 'forks' as const,
    // The machine may be an emulated one.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
};

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
      ...(process.env['VERBENA_TEST_DEVICE'] === 'rxe0' ? [interop] : []),
    ],
  },
});
