// When a silent peer is given up, on a machine that is in time and on one that is late.
import { EventEmitter } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { VerbenaError } from '../../../src/errors.js';
import { ControlChannel } from '../../../src/handshake/control-channel.js';
import { encodeFrame } from '../../../src/handshake/frame.js';

/** As much of a socket as a channel needs. */
class QuietSocket extends EventEmitter {
  writableLength = 0;
  readonly write = vi.fn();
  readonly destroy = vi.fn();
  readonly setNoDelay = vi.fn();
}

const PERIOD_MS = 300;
let socket: QuietSocket;
let ends: VerbenaError[];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  socket = new QuietSocket();
  ends = [];
  const channel = new ControlChannel(socket as unknown as TLSSocket, {
    onControlMessage: () => undefined,
    onControlEnd: (error) => ends.push(error),
  });
  channel.startKeepalive(PERIOD_MS / 1000);
});

afterEach(() => {
  vi.useRealTimers();
});

const hear = (): void => {
  socket.emit('data', encodeFrame(Buffer.from('{"type":"keepalive"}')));
};

describe('a silent peer', () => {
  it('is given up after one period, and is sent keepalives until then', () => {
    vi.advanceTimersByTime(PERIOD_MS - 1);
    expect(ends).toEqual([]);
    expect(socket.write).toHaveBeenCalledTimes(2);
    vi.advanceTimersByTime(1);
    expect(ends).toMatchObject([{ code: 'ERR_VERBENA_KEEPALIVE_TIMEOUT' }]);
    expect(socket.destroy).toHaveBeenCalledTimes(1);
  });

  it('is given up at most four thirds of a period after it was heard', () => {
    vi.advanceTimersByTime(1);
    hear();
    vi.advanceTimersByTime((PERIOD_MS * 4) / 3 - 2);
    expect(ends).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(ends).toHaveLength(1);
  });

  it('is not given up while it is heard', () => {
    for (let part = 0; part < 20; part++) {
      vi.advanceTimersByTime(PERIOD_MS / 2);
      hear();
    }
    expect(ends).toEqual([]);
  });

  it('is not kept longer by a machine that is late at every look', () => {
    const LATE_MS = 40;
    const now = performance.now.bind(performance);
    let lateMs = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now() + lateMs);
    // Each look happens this much after its time: the next one is set that much earlier.
    lateMs = LATE_MS;
    vi.advanceTimersByTime(PERIOD_MS - LATE_MS);
    expect(ends).toHaveLength(1);
  });
});
