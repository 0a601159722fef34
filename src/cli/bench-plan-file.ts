// Takes the options of `verbena bench` that the command line leaves open from its plan file.
import { readFile } from 'node:fs/promises';
import { InvalidArgumentError, type Command, type Option } from 'commander';
import {
  PlanProblem,
  parsePlanFile,
  type PlanFile,
  type PlannedOption,
} from '../bench/plan-file.js';
import { CliFailure, ExitCode } from './failure.js';

/** What only the command line can say. */
const notInPlans: ReadonlySet<string> = new Set(['plan', 'json', 'help']);

function planFailure(path: string, cause: unknown): CliFailure {
  return new CliFailure(`the plan ${path} is not right`, { cause, exitCode: ExitCode.usage });
}

function optionFor(command: Command, { name, where }: PlannedOption): Option {
  const known = command.options.filter(
    (option) => !option.negate && !notInPlans.has(option.name()),
  );
  const found = known.find((option) => option.name() === name);
  if (found !== undefined) return found;
  const names = known.map((option) => option.name()).join(', ');
  throw new PlanProblem(`${where}: there is no option "${name}"; known are ${names}`);
}

function valueOf(option: Option, { name, value, where }: PlannedOption): unknown {
  if (option.isBoolean()) {
    if (value === 'true' || value === 'false') return value === 'true';
    throw new PlanProblem(`${where}: ${name} must be true or false`);
  }
  try {
    // Its declaration knows of no result.
    const parse = option.parseArg as ((text: string, previous: unknown) => unknown) | undefined;
    return parse === undefined ? value : parse(value, undefined);
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    throw new PlanProblem(`${where}: ${name} "${value}": ${error.message}`);
  }
}

/** Flags win; the plan comes before the defaults. */
function apply(command: Command, plan: PlanFile): void {
  for (const planned of plan.options) {
    const option = optionFor(command, planned);
    const value = valueOf(option, planned);
    const key = option.attributeName();
    if (command.getOptionValueSource(key) !== 'cli') {
      command.setOptionValueWithSource(key, value, 'config');
    }
  }
  const source = command.getOptionValueSource('clients');
  const [first] = plan.clients;
  if (first !== undefined && source !== 'default') {
    throw new PlanProblem(
      `${first.where}: the plan lists its clients, so --clients has no meaning`,
    );
  }
}

/** Reads the plan, if there is one, and gives the command its options. */
export async function readPlan(
  command: Command,
  path: string | undefined,
): Promise<PlanFile | undefined> {
  if (path === undefined) return undefined;
  try {
    const plan = parsePlanFile(await readFile(path, 'utf8'));
    apply(command, plan);
    return plan;
  } catch (error) {
    throw planFailure(path, error);
  }
}
