// What a worker takes: requests in work, answers that wait, and what the main thread sees of it.
import { describe, expect, it } from 'vitest';
import { newTrafficStats } from '../../../src/connection/traffic-stats.js';
import { LIVE_WORDS, LiveWord } from '../../../src/workers/messages.js';
import { WorkerGate } from '../../../src/workers/worker-gate.js';

function newGate(channelSize: number, senderChannelSize: number) {
  const traffic = newTrafficStats();
  const live = new Int32Array(LIVE_WORDS);
  live[LiveWord.channelSize] = channelSize;
  return { traffic, live, gate: new WorkerGate({ senderChannelSize, traffic, live }) };
}

describe('WorkerGate', () => {
  it('takes so many requests, and tells the next which limit it met and when to come back', () => {
    const { gate, live } = newGate(2, 10);
    expect([gate.enter(0, 0), gate.enter(1, 0)]).toEqual([undefined, undefined]);
    expect(gate.enter(2, 0)).toMatchObject({
      reason: 'queueFull',
      text: expect.stringContaining('workerChannelSize') as unknown,
      retryAfterMs: expect.any(Number) as unknown,
    });
    expect(live[LiveWord.requestsInWork]).toBe(2);
    gate.leave(1, 1);
    expect(live[LiveWord.requestsInWork]).toBe(1);
    expect(gate.enter(1, 1)).toBeUndefined();
  });

  it('takes none while too many answers wait', () => {
    const { gate, live, traffic } = newGate(9, 3);
    traffic.answersWaiting = 3;
    expect(gate.enter(0, 0)).toMatchObject({
      reason: 'answersWaiting',
      text: expect.stringContaining('senderChannelSize') as unknown,
    });
    expect(live[LiveWord.requestsInWork]).toBe(0);
    traffic.answersWaiting = 2;
    expect(gate.enter(0, 0)).toBeUndefined();
  });

  it('follows the limit and the shedding that the main thread sets', () => {
    const { gate, live } = newGate(10, 10);
    for (let own = 0; own < 4; own++) expect(gate.enter(own, 0)).toBeUndefined();
    expect(gate.enter(0, 0)).toBeUndefined();
    live[LiveWord.isShedding] = 1;
    expect(gate.enter(4, 0)).toMatchObject({ reason: 'shedding' });
    live[LiveWord.isShedding] = 0;
    expect(gate.enter(4, 0)).toBeUndefined();
    live[LiveWord.channelSize] = 6;
    expect(gate.enter(5, 0)).toMatchObject({ reason: 'queueFull' });
  });
});
