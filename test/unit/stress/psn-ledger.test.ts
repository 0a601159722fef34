// Which sessions may have which packet sequence numbers.
import { describe, expect, it } from 'vitest';
import { PsnLedger } from '../../../src/stress/psn-ledger.js';

const pair = (localPsn: number, remotePsn: number): { localPsn: number; remotePsn: number } => ({
  localPsn,
  remotePsn,
});

describe('the ledger', () => {
  it('counts the pairs of sessions that both sides name', () => {
    const ledger = new PsnLedger();
    ledger.connected(pair(1, 2));
    ledger.connected(pair(3, 4));
    ledger.atServer(pair(1, 2));
    expect(ledger.sessions).toBe(2);
    expect(ledger.unique(true)).toBe(1);
    expect(ledger.unique(false)).toBe(2);
  });

  it('names a number that two live sessions share, in whichever direction', () => {
    const ledger = new PsnLedger();
    expect(ledger.connected(pair(1, 2))).toEqual([]);
    expect(ledger.connected(pair(2, 5))).toEqual([2]);
    expect(ledger.connected(pair(6, 1))).toEqual([1]);
  });

  it('lets a number be used again once its session has left', () => {
    const ledger = new PsnLedger();
    ledger.connected(pair(1, 2));
    ledger.leaving(pair(1, 2));
    expect(ledger.connected(pair(2, 1))).toEqual([]);
  });

  it('does not count a pair twice', () => {
    const ledger = new PsnLedger();
    ledger.connected(pair(1, 2));
    ledger.leaving(pair(1, 2));
    ledger.connected(pair(1, 2));
    expect(ledger.sessions).toBe(2);
    expect(ledger.unique(false)).toBe(1);
  });
});
