// Credits: two sides under any schedule never overrun a receive queue, and never wait for each
// other for ever.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Credits, EXTRA_RECEIVES } from '../../../src/connection/credits.js';

interface Packet {
  readonly credits: number;
  readonly isCreditMessage: boolean;
}

/** One side, with the packets on their way to it and the messages that it still has to send. */
class Side {
  readonly credits: Credits;
  readonly inbound: Packet[] = [];
  backlog = 0;
  received = 0;
  mostUnderWay = 0;
  peer!: Side;

  constructor(window: number) {
    this.credits = new Credits(window);
  }

  /** What an endpoint does at the end of a tick. */
  flush(): void {
    while (this.backlog > 0 && this.credits.available > 0) {
      this.credits.spend();
      this.backlog--;
      this.#send({ credits: this.credits.takeOwed(), isCreditMessage: false });
    }
    if (this.credits.mustReturn) {
      this.#send({ credits: this.credits.takeOwed(), isCreditMessage: true });
    }
  }

  /** Takes the oldest packet and posts its receive again. */
  receive(): void {
    const packet = this.inbound.shift();
    if (packet === undefined) return;
    expect(this.credits.add(packet.credits)).toBe(true);
    if (packet.isCreditMessage) return;
    this.received++;
    expect(this.credits.owe()).toBe(true);
  }

  #send(packet: Packet): void {
    this.peer.inbound.push(packet);
    this.peer.mostUnderWay = Math.max(this.peer.mostUnderWay, this.peer.inbound.length);
  }
}

function pair(window: number): [Side, Side] {
  const a = new Side(window);
  const b = new Side(window);
  a.peer = b;
  b.peer = a;
  return [a, b];
}

describe('Credits', () => {
  it('keep every schedule within the receives posted, and deliver everything', () => {
    const step = fc.record({
      side: fc.nat(1),
      action: fc.constantFrom('send', 'flush', 'receive'),
      count: fc.integer({ min: 1, max: 40 }),
    });
    const schedules = fc.array(step, { maxLength: 200 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 17 }), schedules, (window, schedule) => {
        const sides = pair(window);
        let sent = 0;
        for (const { side, action, count } of schedule) {
          const one = sides[side] as Side;
          if (action === 'send') {
            one.backlog += count;
            sent += count;
          } else if (action === 'flush') one.flush();
          else for (let packet = 0; packet < count; packet++) one.receive();
        }
        settle(sides);
        const [a, b] = sides;
        expect(a.received + b.received).toBe(sent);
        for (const { mostUnderWay } of sides) {
          expect(mostUnderWay).toBeLessThanOrEqual(window + EXTRA_RECEIVES);
        }
        expectConserved(a, b);
        expectConserved(b, a);
      }),
      { numRuns: 300 },
    );
  });

  it('returns nothing by itself below half a window', () => {
    const credits = new Credits(5);
    credits.owe();
    credits.owe();
    expect(credits.mustReturn).toBe(false);
    credits.owe();
    expect(credits.mustReturn).toBe(true);
    expect(credits.takeOwed()).toBe(3);
    expect(credits.owed).toBe(0);
  });

  it('refuses credits that were never taken', () => {
    const credits = new Credits(4);
    expect(credits.add(1)).toBe(false);
    credits.spend();
    expect(credits.add(2)).toBe(false);
    expect(credits.add(1)).toBe(true);
  });

  it('notices a peer that sends without credit', () => {
    const credits = new Credits(2);
    expect([credits.owe(), credits.owe(), credits.owe()]).toEqual([true, true, false]);
  });
});

/** Lets both sides run until nothing moves. */
function settle(sides: readonly Side[]): void {
  for (let round = 0; round < 10_000; round++) {
    if (sides.every((side) => side.inbound.length === 0 && side.backlog === 0)) break;
    for (const side of sides) {
      side.flush();
      while (side.inbound.length > 0) side.receive();
    }
  }
  for (const side of sides) side.flush();
  for (const side of sides) while (side.inbound.length > 0) side.receive();
}

/** Nothing is under way: what one side may send and what the other owes it make the window. */
function expectConserved(sender: Side, receiver: Side): void {
  expect(sender.credits.available + receiver.credits.owed).toBe(sender.credits.window);
}
