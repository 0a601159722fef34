// `verbena stress`: plays a scenario against a server, prints its result, decides the exit code.
import { randomInt } from 'node:crypto';
import { summaryOf } from '../stress/result.js';
import { runScenario, type RunOptions } from '../stress/run.js';
import type { ParameterName, Parameters, Scenario } from '../stress/scenario.js';
import { scenarios } from '../stress/scenarios/index.js';
import { makeDevCertificate } from './dev-certificate.js';
import { CliFailure, ExitCode } from './failure.js';
import { untilSignal } from './interruption.js';
import { readAuthority } from './ping-command.js';
import { parseTarget } from './target.js';

export interface StressOptions extends Partial<Parameters> {
  readonly ca?: string;
  readonly insecure: boolean;
  readonly device?: string;
  readonly json: boolean;
}

/** Those that a scenario takes or does not; any takes a seed. */
const parameterNames: readonly ParameterName[] = [
  'clients',
  'requests',
  'size',
  'cycles',
  'seconds',
  'deaths',
  'slow',
];
const nothing: Parameters = {
  clients: 0,
  requests: 0,
  size: 0,
  cycles: 0,
  seconds: 0,
  deaths: 0,
  slow: 1,
  seed: 0,
};

function usageFailure(what: string, hint: string): CliFailure {
  return new CliFailure(what, { hint, exitCode: ExitCode.usage });
}

function findScenario(name: string): Scenario {
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found !== undefined) return found;
  const known = scenarios.map((scenario) => scenario.name).join(', ');
  throw usageFailure(`there is no scenario "${name}"`, `choose one of ${known}`);
}

/** What was given, checked against what the scenario takes, and its usual values for the rest. */
function parametersOf(scenario: Scenario, options: StressOptions): Parameters {
  const { usual } = scenario;
  const either: readonly ParameterName[] = scenario.either ?? [];
  const given = parameterNames.filter((name) => options[name] !== undefined);
  const taken = parameterNames.filter((name) => name in usual || either.includes(name));
  const foreign = given.find((name) => !taken.includes(name));
  if (foreign !== undefined) {
    const names = taken.map((name) => `--${name}`).join(', ');
    throw usageFailure(`--${foreign} is not for "${scenario.name}"`, `it takes ${names}`);
  }
  const [one, other] = either;
  const values = Object.fromEntries(given.map((name) => [name, options[name]]));
  if (one === undefined || other === undefined) return { ...nothing, ...usual, ...values };
  if (given.includes(one) && given.includes(other)) {
    throw usageFailure(`--${one} and --${other} exclude each other`, 'give one of them');
  }
  const none = given.includes(other) ? { [one]: 0 } : {};
  return { ...nothing, ...usual, ...none, ...values };
}

async function serverOf(
  target: string | undefined,
  { ca, insecure }: StressOptions,
): Promise<RunOptions['server']> {
  if (target === undefined) {
    if (ca !== undefined || insecure) {
      throw usageFailure('--ca and --insecure are for a server of yours', 'give HOST[:PORT] too');
    }
    return makeDevCertificate();
  }
  if (ca !== undefined && insecure) {
    throw usageFailure('--ca and --insecure exclude each other', 'give one of them');
  }
  return {
    ...parseTarget(target),
    ca: ca === undefined ? undefined : await readAuthority(ca),
    rejectUnauthorized: !insecure,
  };
}

/** Resolves with the exit code: 0 only when the scenario passed. */
export async function stressCommand(
  name: string,
  target: string | undefined,
  options: StressOptions,
): Promise<number> {
  const scenario = findScenario(name);
  const parameters = parametersOf(scenario, options);
  const server = await serverOf(target, options);
  const out = options.json ? process.stderr : process.stdout;
  using interruption = untilSignal();
  const result = await runScenario({
    scenario,
    parameters: { ...parameters, seed: options.seed ?? randomInt(2 ** 32) },
    device: options.device ?? (target === undefined ? 'soft' : 'auto'),
    server,
    signal: interruption.signal,
    note: (text) => out.write(`${scenario.name}: ${text}\n`),
    problem: (text) => process.stderr.write(`verbena stress: error: ${text}\n`),
  });
  out.write(`${summaryOf(result)}\n`);
  if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  return interruption.exitCode ?? (result.passed ? ExitCode.ok : ExitCode.failure);
}
