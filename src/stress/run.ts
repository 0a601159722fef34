// Plays one scenario from the start of its server to the verdict; no process outlives it.
import { addObjects, noObjects } from '../processes/live-objects.js';
import { OwnServer } from './own-server.js';
import { isPassed, type StressResult } from './result.js';
import type { Parameters, Scenario } from './scenario.js';
import { Account, Stage } from './stage.js';

/** Limits on both sides: what a scenario judges is not how fast the machine is. */
const patience = {
  handshakeTimeoutMs: 60_000,
  requestTimeoutMs: 60_000,
  closeTimeoutMs: 10_000,
} as const;

/** Somebody else's server. */
export interface GivenServer {
  readonly host: string;
  readonly port: number;
  readonly ca: string | undefined;
  readonly rejectUnauthorized: boolean;
}

export interface RunOptions {
  readonly scenario: Scenario;
  readonly parameters: Parameters;
  readonly device: string;
  /** The server to test, or the certificate for one of its own. */
  readonly server:
    GivenServer | { readonly ca: string; readonly cert: string; readonly key: string };
  readonly signal: AbortSignal;
  /** Says what goes on, and what goes wrong. */
  readonly note: (text: string) => void;
  readonly problem: (text: string) => void;
}

function startServer(options: RunOptions, account: Account): OwnServer | undefined {
  const { server, device, scenario, parameters } = options;
  if (!('cert' in server)) return undefined;
  const { cert, key } = server;
  const own = new OwnServer(
    { ...patience, ...scenario.server?.(parameters), device, cert, key },
    account,
  );
  void own.process.ended.then((how) => {
    if (how === undefined) return;
    const { output } = own.process;
    account.problem(`the server ${how}${output === '' ? '' : ` (its last words: ${output})`}`);
  });
  return own;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Plays until the end, or until the user has had enough. */
async function play(stage: Stage, options: RunOptions): Promise<void> {
  const { scenario, parameters, signal } = options;
  const played = stage.attempt(async () => {
    await scenario.play(stage, parameters);
    await stage.clear();
    await stage.server?.finish();
  });
  await Promise.race([played, aborted(signal)]);
}

function resultOf(stage: Stage, options: RunOptions, seconds: number): StressResult {
  const { server, scenario, parameters, signal } = options;
  const { psns, problems, provoked } = stage.account;
  const own = stage.server;
  const result = {
    scenario: scenario.name,
    device: own?.device ?? stage.device,
    server: 'cert' in server ? 'own' : `${server.host}:${server.port}`,
    judged: own === undefined ? (['clients'] as const) : (['clients', 'server'] as const),
    clients: psns.sessions,
    uniquePsns: psns.unique(own !== undefined),
    requests: stage.requests,
    bytesVerified: stage.bytesVerified,
    errors: problems,
    provoked,
    leaked: addObjects(stage.leaked, own?.leaked ?? noObjects),
    seed: parameters.seed,
    interrupted: signal.aborted,
    seconds: Math.round(seconds * 10) / 10,
    details: stage.details,
  };
  const { scenario: name, ...rest } = result;
  return { scenario: name, passed: isPassed(result), ...rest };
}

/** Resolves with the verdict, whatever went wrong. */
export async function runScenario(options: RunOptions): Promise<StressResult> {
  const { server, device, signal, note } = options;
  const account = new Account(signal, options.problem);
  const started = performance.now();
  const own = startServer(options, account);
  await Promise.race([own?.started(), aborted(signal)]);
  const target = {
    device,
    host: 'host' in server ? server.host : '127.0.0.1',
    port: 'port' in server ? server.port : (own?.port ?? 0),
    ca: server.ca,
    rejectUnauthorized: 'cert' in server || server.rejectUnauthorized,
    ...patience,
  };
  const stage = new Stage({ target, server: own, signal, note }, account);
  try {
    if (target.port !== 0) await play(stage, options);
  } finally {
    await Promise.all([stage.abandon(), own?.process.stop()]);
  }
  const seconds = (performance.now() - started) / 1000;
  return resultOf(stage, options, seconds);
}
