// When a thread of the load generator is called the bottleneck.
import { describe, expect, it } from 'vitest';
import { saturation } from '../../../src/bench/effort.js';

const rested = { loopShare: 0.5, idleSpins: 1, coreWaitShare: 0, lateShare: 0 };

describe('a thread was the bottleneck', () => {
  it.each([
    ['it waited for a core', { coreWaitShare: 0.4 }, false, /waited for a core 40 %/],
    ['completions always waited for it', { loopShare: 1, idleSpins: 0 }, false, /busy 100 %/],
    ['it was late', { lateShare: 0.05 }, true, /5 % of its operations began over 1 ms late/],
  ])('when %s', (_, effort, isOpenLoop, pattern) => {
    expect(saturation({ ...rested, ...effort }, isOpenLoop)).toMatch(pattern);
  });

  it.each([
    ['had nothing to do at times', {}, false],
    ['watched for each completion', { loopShare: 1, idleSpins: 1 }, false],
    ['watched the clock', { loopShare: 1, idleSpins: 0 }, true],
  ])('but not when it %s', (_, effort, isOpenLoop) => {
    expect(saturation({ ...rested, ...effort }, isOpenLoop)).toBeUndefined();
  });
});
