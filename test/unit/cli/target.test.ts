// Reading the server that `verbena ping` is given.
import { describe, expect, it } from 'vitest';
import { CliFailure } from '../../../src/cli/failure.js';
import { parseTarget } from '../../../src/cli/target.js';

describe('parseTarget', () => {
  it.each([
    ['server.example', 'server.example', 4791],
    ['server.example:80', 'server.example', 80],
    ['127.0.0.1:65535', '127.0.0.1', 65_535],
    ['::1', '::1', 4791],
    ['[::1]', '::1', 4791],
    ['[fe80::1%eth0]:7', 'fe80::1%eth0', 7],
  ])('reads %s', (text, host, port) => {
    expect(parseTarget(text)).toEqual({ host, port });
  });

  it.each(['', ':80', 'host:', 'host:x', 'host:0', 'host:65536', '[::1', '[host]:1', 'a:b:1'])(
    'refuses "%s" as a usage error that shows how to write it',
    (text) => {
      expect(() => parseTarget(text)).toThrow(/host:port/);
      expect(() => parseTarget(text)).toThrow(CliFailure);
    },
  );
});
