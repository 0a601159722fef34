// Plan files in lines and in JSON: what they say, and how faults in them are told.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parsePlanFile, plannedClients } from '../../../src/bench/plan-file.js';
import { refusalOf } from '../../helpers/bench.js';

const lines = `
# Three clients, the second with more threads.
clientThreads: 2
workload: echo=70,read=30   # by weight
warm-up: 0.5

client0 127.0.0.4
client1 127.0.0.5 threads=4 id=100
client2
`;
const json = JSON.stringify({
  clientThreads: 2,
  workload: 'echo=70,read=30',
  'warm-up': 0.5,
  clients: [
    { name: 'client0', address: '127.0.0.4' },
    { name: 'client1', address: '127.0.0.5', threads: 4, id: 100 },
    { name: 'client2' },
  ],
});

describe('a plan file', () => {
  it.each([
    ['lines', lines],
    ['JSON', json],
  ])('in %s has options and clients, whose own threads count', (_, text) => {
    const file = parsePlanFile(text);
    expect(file.options.map(({ name, value }) => [name, value])).toEqual([
      ['client-threads', '2'],
      ['workload', 'echo=70,read=30'],
      ['warm-up', '0.5'],
    ]);
    expect(plannedClients(file, 2, 7)).toEqual([
      { name: 'client0', baseClientId: 7, threads: 2, softAddress: '127.0.0.4' },
      { name: 'client1', baseClientId: 100, threads: 4, softAddress: '127.0.0.5' },
      { name: 'client2', baseClientId: 104, threads: 2, softAddress: undefined },
    ]);
  });

  it('refuses ids that two clients would have, and names both lines', () => {
    const file = parsePlanFile('a threads=4\n\nb id=3 threads=2');
    expect(() => plannedClients(file, 1, 0)).toThrow(
      /line 3: the client id 3 is in line 1 already/,
    );
  });

  it.each([
    ['a\nb\na', /line 3: the client a is in line 1 already/],
    ['a 127.0.0.4\nb 127.0.0.4', /line 2: the address 127\.0\.0\.4 is in line 1/],
    ['depth: 4\n# more\ndepth: 5', /line 3: the option depth is in line 1/],
    ['depth:', /line 1: depth has no value/],
    ['a 127.0.0.256', /line 1: "127\.0\.0\.256" is no IP address/],
    ['a threads=0', /line 1: threads must be a whole number from 1/],
    ['a threads=2=3', /line 1: "threads=2=3" is not understood/],
    ['a speed=9', /line 1: a client has no "speed"/],
    ['a/b', /line 1: a client needs a name/],
    ['{"depth": ', /JSON/],
    ['{"depth": [1]}', /"depth": it must be a string/],
    ['{"clients": "many"}', /"clients": it must be a number, or a list/],
    ['{"clients": [{"name": "a"}, {"name": "a"}]}', /"clients"\[1\]: the client a is in "cl/],
    ['{"clients": [3]}', /"clients"\[0\]: it must be an object/],
    ['{"clients": [{"threads": 3}]}', /"clients"\[0\]: a client needs a name/],
  ])('refuses %j', (text, pattern) => {
    expect(() => parsePlanFile(text)).toThrow(pattern);
  });
});

describe('--plan', () => {
  const folder = mkdtempSync(join(tmpdir(), 'verbena-plan-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'plan');

  it.each([
    ['depth: many', '', /line 1: depth "many": It must be a whole number/],
    ['speed: 9', '', /line 1: there is no option "speed"; known are ca, insecure/],
    ['json: true', '', /line 1: there is no option "json"/],
    ['verify: perhaps', '', /line 1: verify must be true or false/],
    ['duration: 1\ncount: 1', '', /--duration and --count exclude each other/],
    ['clients: 2\na', '', /line 2: the plan lists its clients, so --clients/],
    ['a\nb', '--clients 2', /line 1: the plan lists its clients, so --clients/],
    ['a\nb', '--soft-addr 127.0.0.9', /no --soft-addr/],
    ['a threads=2\nb id=1', '', /line 2: the client id 1 is in line 1 already/],
    ['a threads=20\nb threads=20', '--count 30', /less than the 40 threads/],
  ])('with %j is refused with options "%s"', async (text, args, pattern) => {
    writeFileSync(path, text);
    const more = args === '' ? [] : args.split(' ');
    const { code, message } = await refusalOf('--plan', path, ...more);
    expect(code).toBe(2);
    expect(message).toMatch(pattern);
  });

  it('that cannot be read is refused', async () => {
    const { code, message } = await refusalOf('--plan', join(folder, 'missing'));
    expect(code).toBe(2);
    expect(message).toMatch(/missing/);
  });

  it('gives way to flags', async () => {
    writeFileSync(path, 'count: 1\nclone-s: 1');
    expect((await refusalOf('--plan', path)).message).toMatch(/line 2/);
    writeFileSync(path, 'count: 9\nclones: 4');
    // The plan's four threads would do; six are too many.
    const { message } = await refusalOf('--plan', path, '--count', '5', '--client-threads', '6');
    expect(message).toMatch(/--count 5 is less than the 6 threads/);
  });
});
