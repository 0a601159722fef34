// Loading the addon and verbs libraries, on machines that have them and on machines that have not.
import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { HARDWARE_LIBRARY, loadAddon, softLibraryPath } from '../../../src/native/load.js';
import { addonPath } from '../../helpers/echo-worker.js';

const addon = loadAddon();

function failureOf(path: string): Error & { code?: string; operation?: string } {
  try {
    addon.openLibrary(path);
  } catch (error) {
    return error as Error;
  }
  throw new Error(`${path} was loaded`);
}

describe('the addon', () => {
  it('has no undefined verbs symbol and needs no verbs library', () => {
    const undefinedSymbols = execFileSync('nm', ['-D', '--undefined-only', addonPath()], {
      encoding: 'utf8',
    });
    expect(undefinedSymbols).toContain('dlopen');
    expect(undefinedSymbols).toContain('napi_make_callback');
    expect(undefinedSymbols.split('\n').filter((line) => /\b_*ibv_/.test(line))).toEqual([]);
    const dynamic = execFileSync('readelf', ['-d', addonPath()], { encoding: 'utf8' });
    expect(dynamic).toMatch(/NEEDED.*libc\.so/);
    expect(dynamic).not.toMatch(/NEEDED.*(ibverbs|verbena)/);
  });

  it('starts with nothing open', () => {
    expect(addon.liveObjects()).toEqual({ pd: 0, cq: 0, qp: 0, mr: 0, device: 0 });
  });
});

describe('openLibrary()', () => {
  it('names the package when libibverbs is missing', () => {
    const error = failureOf('/nonexistent/libibverbs.so.1');
    expect(error).toMatchObject({ code: 'ERR_VERBENA_LIBRARY', operation: 'dlopen' });
    expect(error.message).toContain('/nonexistent/libibverbs.so.1');
    expect(error.message).toContain('apt-get install libibverbs1');
    expect(error.message).toContain('dnf install libibverbs');
  });

  it('names the build when the soft device is missing', () => {
    const error = failureOf('/nonexistent/libverbena-soft.so');
    expect(error.code).toBe('ERR_VERBENA_LIBRARY');
    expect(error.message).toContain('npm run build:native');
  });

  it('names the function that a library lacks', () => {
    const error = failureOf('libm.so.6');
    expect(error).toMatchObject({ code: 'ERR_VERBENA_LIBRARY', operation: 'dlsym' });
    expect(error.message).toContain('ibv_get_device_list');
  });

  it('refuses what is no path', () => {
    expect(() => addon.openLibrary(7 as unknown as string)).toThrow(TypeError);
  });

  it('has both libraries in one process, each with its own devices', () => {
    const hardware = addon.openLibrary(HARDWARE_LIBRARY);
    const soft = addon.openLibrary(softLibraryPath());
    expect(soft.listDevices()).toEqual([
      { name: 'soft0', guid: expect.stringMatching(/^[0-9a-f]{16}$/) as unknown },
    ]);
    expect(hardware.listDevices().map((device) => device.name)).not.toContain('soft0');
    expect(hardware.path).toBe(HARDWARE_LIBRARY);
  });
});

describe('openDevice()', () => {
  it('says which devices there are when the name is unknown', () => {
    const library = addon.openLibrary(softLibraryPath());
    expect(() => library.openDevice('mlx5_9')).toThrow(
      expect.objectContaining({
        code: 'ERR_VERBENA_UNKNOWN_DEVICE',
        message: expect.stringMatching(/mlx5_9.*soft0/) as unknown,
      }),
    );
  });

  it('adds what the library says to the reason of a failure', () => {
    const code = `
      const addon = require(${JSON.stringify(addonPath())});
      try {
        addon.openLibrary(${JSON.stringify(softLibraryPath())}).openDevice('soft0');
      } catch (error) {
        console.log(JSON.stringify({ ...error, message: error.message }));
      }`;
    const output = execFileSync(process.execPath, ['-e', code], {
      encoding: 'utf8',
      env: { ...process.env, VERBENA_SOFT_ADDR: '203.0.113.7' },
    });
    const error = JSON.parse(output) as Record<string, unknown>;
    expect(error).toMatchObject({ code: 'ERR_VERBENA_VERBS', operation: 'ibv_open_device' });
    expect(error['message']).toContain('203.0.113.7');
  });
});

describe('a device', () => {
  it('describes itself, its ports and its addresses', () => {
    const device = addon.openLibrary(softLibraryPath()).openDevice('soft0');
    expect(device.name).toBe('soft0');
    const attributes = device.queryDevice();
    expect(attributes).toMatchObject({ atomics: true, portCount: 1 });
    expect(attributes.maxQp).toBeGreaterThan(0);
    const port = device.queryPort(1);
    expect(port).toMatchObject({ state: 'ACTIVE', linkLayer: 'Ethernet', lid: 0 });
    expect([256, 512, 1024, 2048, 4096]).toContain(port.activeMtu);
    const [gid] = device.gidTable(1);
    expect(gid).toEqual({
      index: 0,
      gid: expect.stringMatching(/^0{20}ffff7f[0-9a-f]{6}$/) as unknown,
      type: 'rocev2',
    });
    expect(() => device.queryPort(2)).toThrow(
      expect.objectContaining({ code: 'ERR_VERBENA_VERBS', operation: 'ibv_query_port' }),
    );
    device.close();
  });
});
