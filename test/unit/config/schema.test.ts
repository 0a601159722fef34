// Configuration of `verbena serve`: precedence of the sources, and what a bad value is told.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigProblem, effectiveSettings, serveConfig } from '../../../src/config/schema.js';
import { flagOf, serveSettings, type Setting } from '../../../src/config/settings.js';

const none = { flags: {}, env: {} };

function problemOf(body: () => unknown): ConfigProblem {
  try {
    body();
  } catch (error) {
    if (error instanceof ConfigProblem) return error;
    throw error;
  }
  throw new Error('no problem was found');
}

describe('serveConfig', () => {
  it('has a default for all but the paths, the soft address and the admin port', () => {
    expect(serveConfig(none)).toEqual({
      device: 'auto',
      host: '127.0.0.1',
      port: 4791,
      maxConnections: 2000,
      maxRequestsPerConnection: 100,
      queueSize: 1000,
      handshakeTimeoutMs: 5000,
      maxPendingHandshakes: 512,
      connectionQueueSize: 64,
      connectionQueueTimeoutMs: 1000,
      connectionRatePerAddress: 0,
      cpuThresholdPercent: 90,
      memoryThresholdPercent: 80,
      queueThresholdPercent: 80,
      maxPayloadBytes: 67_108_864,
      regionBytes: 8192,
      requestTimeoutMs: 5000,
      keepaliveSec: 60,
      drainTimeoutMs: 10_000,
      workers: 0,
      workerStrategy: 'round-robin',
      workerAffinity: 'off',
      workerChannelSize: 256,
      senderChannelSize: 512,
      adminHost: '127.0.0.1',
      logLevel: 'info',
    });
  });

  it('prefers flags to the environment, that to the file, and that to the defaults', () => {
    const file = { path: 'v.json', content: { port: 1, host: 'file', device: 'file' } };
    const env = { VERBENA_PORT: '2', VERBENA_HOST: 'env' };
    const config = serveConfig({ flags: { port: '3' }, env, file });
    expect(config).toMatchObject({ port: 3, host: 'env', device: 'file', keepaliveSec: 60 });
  });

  it('takes the number of workers or `auto`, and their processors as a list', () => {
    const config = serveConfig({
      flags: { workers: 'auto', workerAffinity: '2,4-6' },
      env: { VERBENA_WORKER_STRATEGY: 'least-loaded' },
    });
    expect(config).toMatchObject({
      workers: 'auto',
      workerAffinity: [2, 4, 5, 6],
      workerStrategy: 'least-loaded',
    });
    expect(serveConfig({ ...none, flags: { workers: '3' } }).workers).toBe(3);
  });

  it('accepts numbers as numbers in the file and as text elsewhere', () => {
    const file = { path: 'v.json', content: { maxConnections: 7 } };
    expect(serveConfig({ ...none, file }).maxConnections).toBe(7);
    expect(serveConfig({ ...none, env: { VERBENA_MAX_CONNECTIONS: ' 8 ' } }).maxConnections).toBe(
      8,
    );
  });

  it.each([
    ['--port', { port: '65536' }, '0 to 65535'],
    ['--port', { port: '12x' }, '0 to 65535'],
    ['--port', { port: '1e3' }, '0 to 65535'],
    ['--max-connections', { maxConnections: '0' }, '1 to 65536'],
    ['--log-level', { logLevel: 'loud' }, 'trace, debug, info'],
    ['--workers', { workers: 'many' }, 'auto or a whole number from 0 to 256'],
    ['--worker-strategy', { workerStrategy: 'any' }, 'round-robin, client-hash, least-loaded'],
    ['--worker-affinity', { workerAffinity: '3-1' }, 'off, auto or a list'],
    ['--worker-affinity', { workerAffinity: 'all' }, 'off, auto or a list'],
    ['--host', { host: '' }, 'not empty'],
  ])('names %s and what is allowed for %o', (flag, flags, allowed) => {
    const problem = problemOf(() => serveConfig({ flags, env: {} }));
    expect(problem.message).toContain(flag);
    expect(problem.message).toContain(allowed);
    expect(problem.fromFlag).toBe(true);
  });

  it('names the variable that holds a bad value', () => {
    const problem = problemOf(() => serveConfig({ flags: {}, env: { VERBENA_PORT: 'x' } }));
    expect(problem.message).toMatch(/^VERBENA_PORT is "x"/);
    expect(problem.fromFlag).toBe(false);
  });

  it('names file and key of a bad value, an unknown key, a file of the wrong shape', () => {
    const withFile = (content: unknown): string =>
      problemOf(() => serveConfig({ ...none, file: { path: 'v.json', content } })).message;
    expect(withFile({ port: 'x' })).toContain('port in v.json');
    expect(withFile({ prot: 1 })).toContain('"prot"');
    expect(withFile([1])).toContain('one JSON object');
  });

  it('names all faults at once; it is the usage that is wrong only if all are flags', () => {
    const file = { path: 'v.json', content: { prot: 1, keepaliveSec: 0 } };
    const env = { VERBENA_PORT: 'x' };
    const problem = problemOf(() => serveConfig({ flags: { host: '' }, env, file }));
    expect(problem.message.split('\n')).toEqual([
      expect.stringContaining('"prot"'),
      expect.stringContaining('--host'),
      expect.stringContaining('VERBENA_PORT'),
      expect.stringContaining('keepaliveSec in v.json'),
    ]);
    expect(problem.fromFlag).toBe(false);
  });
});

describe('effectiveSettings', () => {
  it('say of each value where it comes from', () => {
    const file = { path: 'v.json', content: { device: 'file', port: 1 } };
    const settings = effectiveSettings({
      flags: { maxConnections: '5' },
      env: { VERBENA_PORT: '2' },
      file,
    });
    const of = (key: string): unknown => settings.find((each) => each.key === key);
    expect(of('maxConnections')).toEqual({
      key: 'maxConnections',
      value: 5,
      source: 'flag',
      from: '--max-connections',
    });
    expect(of('port')).toMatchObject({ value: 2, source: 'environment', from: 'VERBENA_PORT' });
    expect(of('device')).toMatchObject({ value: 'file', source: 'file', from: 'device in v.json' });
    expect(of('keepaliveSec')).toMatchObject({ value: 60, source: 'default' });
    expect(of('cert')).toMatchObject({ value: undefined, source: 'default' });
    expect(settings).toHaveLength(serveSettings.length);
  });
});

describe('serveSettings', () => {
  it('has one flag and one variable for each key', () => {
    const keys = serveSettings.map(({ key }) => key);
    expect(new Set(keys.map(flagOf)).size).toBe(keys.length);
    expect(new Set(serveSettings.map(({ env }) => env)).size).toBe(keys.length);
    expect(flagOf('maxConnections')).toBe('--max-connections');
  });

  it('takes any file and environment whole, or says what is wrong with them', () => {
    const keys = serveSettings.map(({ key }) => key as string);
    const value = fc.oneof(fc.jsonValue(), fc.integer().map(String), fc.double());
    const content = fc.oneof(
      fc.jsonValue(),
      fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.string()), value, { maxKeys: 4 }),
    );
    const env = fc.dictionary(fc.constantFrom(...serveSettings.map(({ env }) => env)), fc.string());
    fc.assert(
      fc.property(content, env, (content, env) => {
        const sources = { flags: {}, env, file: { path: 'v.json', content } };
        let config: Record<string, unknown>;
        try {
          config = { ...serveConfig(sources) };
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigProblem);
          return;
        }
        for (const { key, min, max } of serveSettings as readonly Setting[]) {
          const found = config[key];
          if (typeof found !== 'number') continue;
          expect(found).toBeGreaterThanOrEqual(min ?? 0);
          expect(found).toBeLessThanOrEqual(max ?? Number.MAX_SAFE_INTEGER);
        }
      }),
    );
  });
});
