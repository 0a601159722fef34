// Set-up file of tests on devices of the kernel: after each, the kernel holds what it held before.
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from 'vitest';
import { timeScale } from './environment.js';
import { kernelCounts, type KernelCounts } from './kernel-resources.js';

let beforeFile: KernelCounts;
/** With what the file itself keeps open for all of its tests. */
let beforeTests: KernelCounts | undefined;

beforeAll(async () => {
  beforeFile = await kernelCounts();
  beforeTests = undefined;
});
beforeEach(async () => {
  beforeTests ??= await kernelCounts();
});
afterEach(() => expectKernelCounts(beforeTests));
afterAll(() => expectKernelCounts(beforeFile));

/** The kernel frees what a killed process held a little later. */
function expectKernelCounts(wanted: KernelCounts | undefined): Promise<void> {
  const look = async (): Promise<void> => {
    expect(await kernelCounts(), 'rdma resource show').toEqual(wanted);
  };
  return vi.waitFor(look, { timeout: 5000 * timeScale });
}
