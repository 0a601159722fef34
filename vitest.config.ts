// Test projects: `unit` runs the sources alone; `integration` runs built programs and processes;
// `stress` plays the scenarios, which takes longer than all the rest, so it is a run of its own;
// `browser` looks at the status page in Chromium, which is a large package to install;
// `interop` does so against the kernel's rxe, under scripts/with-rxe.sh --netns.
import { defineConfig } from 'vitest/config';
import { testDevice, timeScale } from './test/helpers/environment.js';

const onSoftDevice = testDevice === 'soft';

const stressTests = ['test/integration/stress.test.ts', 'test/integration/program/stress.test.ts'];

/** Integration tests that do not run on the device of this run. Everything else does. */
const elsewhere = onSoftDevice
  ? // What the kernel counts; it knows nothing of the soft device.
    ['test/integration/kernel/**', ...stressTests]
  : [
      // Addresses of its own, faults, captures, exports, other people's programs under preload.
      'test/integration/soft/**',
      // Usage, the README, the demo with all its clients within its own limits of time: the program's
      // conduct, the same on each device.
      'test/integration/program/**',
    ];

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

const integration = {
  test: {
    name: 'integration',
    include: ['test/integration/**/*.test.ts'],
    exclude: elsewhere,
    setupFiles: onSoftDevice ? [] : ['test/helpers/kernel-oracle.ts'],
    // The soft device keeps its address for the life of a process, so each file has a process.
    isolate: onSoftDevice,
    // One file at a time: each starts processes that measure latencies and hold local addresses.
    fileParallelism: false,
    pool: 'forks' as const,
    testTimeout: 60_000 * timeScale,
    hookTimeout: 60_000 * timeScale,
    // A loaded machine is slow, not wrong; tests with a deadline of their own name it.
    expect: { poll: { timeout: 5_000 * timeScale } },
  },
};
const stress = {
  test: { ...integration.test, name: 'stress', include: stressTests, exclude: [] },
};

/** The status page as a browser shows it. */
const browser = {
  test: {
    ...integration.test,
    name: 'browser',
    include: ['test/browser/**/*.test.ts'],
    exclude: [],
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
      integration,
      ...(onSoftDevice ? [stress, browser] : []),
      ...(process.env['VERBENA_TEST_DEVICE'] === 'rxe0' ? [interop] : []),
    ],
  },
});
