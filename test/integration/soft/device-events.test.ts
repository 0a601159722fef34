// A server whose device loses its port for a while, or fails: told through VERBENA_SOFT_CONTROL.
// With workers each of their threads has the device open, and hears of it for its own sessions.
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect, type Connection, type VerbenaError } from '../../../src/index.js';
import { expectOneLine, type TestProcess, verbena } from '../../helpers/process.js';
import {
  codeOfRejection,
  expectEqualBytes,
  expectNothingLeft,
  pattern,
} from '../../helpers/verbena.js';
import { workerHandler } from '../../helpers/workers.js';

const folder = mkdtempSync(join(tmpdir(), 'verbena-events-'));
const fifo = join(folder, 'control.fifo');
const dev = join(folder, 'dev');

let server: TestProcess;
let port: number;
let clients: Connection[];

/** To the device of the server. */
const tell = (command: string): void => writeFileSync(fifo, `${command}\n`);

function newClient(): Promise<Connection> {
  const ca = readFileSync(join(dev, 'ca.pem'));
  return connect({ device: 'soft', host: '127.0.0.1', port, ca });
}

async function start(flags: readonly string[]): Promise<void> {
  server = verbena(['serve', '--device', 'soft', '--dev-cert', dev, '--port', '0', ...flags], {
    env: { ...process.env, VERBENA_SOFT_CONTROL: fifo },
  });
  const [, found] = await server.waitFor(/listening on \S+:(\d+)/);
  port = Number(found);
  clients = [await newClient(), await newClient()];
}

afterEach(async () => {
  for (const client of clients) await client.close();
  await server[Symbol.asyncDispose]();
  expectNothingLeft();
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each([
  ['a server', []],
  ['a server with workers', ['--workers', '2', '--handler', fileURLToPath(workerHandler)]],
])('%s', (_, flags) => {
  beforeEach(() => start(flags));

  it('whose port is down refuses newcomers, and serves on when it is up', async () => {
    tell('port down');
    await server.waitFor(/port is down/, 'stderr');
    const waiting = clients.map((client) => client.request(pattern(5000)));
    await expect(newClient()).rejects.toMatchObject({
      code: 'ERR_VERBENA_PORT_NOT_ACTIVE',
      retryAfterMs: 1000,
    });
    tell('port up');
    await server.waitFor(/port is active again/, 'stderr');
    for (const response of await Promise.all(waiting)) expectEqualBytes(response, pattern(5000));
    clients.push(await newClient());
    expectEqualBytes(await (clients[2] as Connection).request(pattern(9)), pattern(9));
  });

  it('whose port stays down loses its clients to the retries', async () => {
    tell('port down');
    await server.waitFor(/port is down/, 'stderr');
    const ends = clients.map((client) => once(client, 'close') as Promise<[VerbenaError]>);
    const waiting = clients.map((client) => codeOfRejection(client.request(pattern(10))));
    for (const [error] of await Promise.all(ends)) expect(error.wcStatus).toBe('RETRY_EXC_ERR');
    // An acknowledge of what was answered before may be lost, too: then it is the server's retries
    // that end first.
    for (const code of await Promise.all(waiting)) {
      expect(code).toMatch(/^ERR_VERBENA_(PEER_)?QP_ERROR$/);
    }
  });

  it('whose device fails tells its clients, and ends with a status', async () => {
    const ends = clients.map((client) => once(client, 'close') as Promise<[VerbenaError]>);
    tell('fail');
    for (const [error] of await Promise.all(ends)) {
      expect(error.code).toBe('ERR_VERBENA_PEER_QP_ERROR');
      expect(error.message).toContain('the device soft0 failed');
    }
    const ended = await server.ended;
    expect(ended.code).toBe(1);
    expectOneLine({ ...ended, stdout: '' }, /the device soft0 failed.*start the server again/);
  });
});
