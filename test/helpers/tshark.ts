// Reads captures with tshark, which dissects RoCE packets independently of us.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

export async function tshark(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('tshark', ['-n', ...args], {
    maxBuffer: 64 << 20,
  });
  return stdout.trim();
}
