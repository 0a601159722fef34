// Client processes that stop at a stage of their life, to be killed there.
import { join } from 'node:path';
import type { Server } from '../../src/index.js';
import { testDevice, timeScale } from './environment.js';
import { repository, TestProcess } from './process.js';

const script = join(repository, 'test/helpers/stalling-client.mjs');

/** Prints `reached` when it is there; the stages are those of stalling-client.mjs. */
export function stallingClient(stage: string, server: Server, caFile: string): TestProcess {
  const port = String(server.address().port);
  const handshakeTimeoutMs = String(5000 * timeScale);
  const args = [script, testDevice, port, caFile, stage, handshakeTimeoutMs];
  return new TestProcess(process.execPath, args);
}
