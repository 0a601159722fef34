// Connections of each address: told at first, dropped when that is not enough, and never mixed up.
import { describe, expect, it } from 'vitest';
import { AddressRates, addressKey } from '../../../src/admission/address-rates.js';

const verdicts = (rates: AddressRates, address: string, times: number, now = 0): string[] =>
  Array.from({ length: times }, () => rates.judge(address, now).verdict);

describe('addressKey', () => {
  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:1:2::9', '2001:db8:1:2'],
    ['2001:db8::9', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
  ])('takes %s for %s', (address, key) => {
    expect(addressKey(address)).toBe(key);
  });
});

describe('AddressRates', () => {
  it('welcomes the rate, tells as many, and drops the rest', () => {
    const rates = new AddressRates(2);
    expect(verdicts(rates, '10.0.0.1', 6)).toEqual([
      ...['welcome', 'welcome'],
      ...['tell', 'tell'],
      ...['drop', 'drop'],
    ]);
  });

  it('says when the next is welcome', () => {
    const rates = new AddressRates(2);
    verdicts(rates, '10.0.0.1', 2);
    expect(rates.judge('10.0.0.1', 0)).toEqual({ verdict: 'tell', retryAfterMs: 500 });
    expect(rates.judge('10.0.0.1', 500)).toEqual({ verdict: 'welcome' });
  });

  it('lets no address use up what another may have', () => {
    const rates = new AddressRates(1);
    verdicts(rates, '10.0.0.1', 100);
    expect(verdicts(rates, '10.0.0.2', 1)).toEqual(['welcome']);
    expect(verdicts(rates, '2001:db8:1:2::1', 1)).toEqual(['welcome']);
    expect(verdicts(rates, '2001:db8:1:2::2', 1)).toEqual(['tell']);
  });

  it('has no limit, and remembers nobody, at 0', () => {
    const rates = new AddressRates(0);
    expect(new Set(verdicts(rates, '10.0.0.1', 5000))).toEqual(new Set(['welcome']));
    expect(rates.size).toBe(0);
  });

  it('forgets who has not come for a while, and never remembers more than it may', () => {
    const rates = new AddressRates(5);
    for (let host = 0; host < 40_000; host++) {
      rates.judge(`10.${host >> 16}.${(host >> 8) & 255}.${host & 255}`, 0);
    }
    expect(rates.size).toBeLessThanOrEqual(16_384);
    rates.judge('192.0.2.1', 60_000);
    expect(rates.size).toBe(1);
  });

  it('follows a new rate at once', () => {
    const rates = new AddressRates(1);
    verdicts(rates, '10.0.0.1', 5);
    rates.perSecond = 3;
    expect(verdicts(rates, '10.0.0.1', 4)).toEqual(['welcome', 'welcome', 'welcome', 'tell']);
  });
});
