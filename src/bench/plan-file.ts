// Plan files: options and clients of a run, in lines or in JSON; faults name where they are.
import { isIP } from 'node:net';
import type { ClientPlan } from './plan.js';

/** A fault of the one who wrote the plan. */
export class PlanProblem extends Error {}

/** An option as it would stand on the command line, and where it is written. */
export interface PlannedOption {
  /** As the flag is called, without the dashes. */
  readonly name: string;
  readonly value: string;
  readonly where: string;
}

export interface PlannedClient {
  readonly name: string;
  readonly address: string | undefined;
  /** Undefined: as many as the others have. */
  readonly threads: number | undefined;
  /** Id of its first thread; undefined: the next that is free. */
  readonly id: number | undefined;
  readonly where: string;
}

export interface PlanFile {
  readonly options: readonly PlannedOption[];
  readonly clients: readonly PlannedClient[];
}

const maxThreads = 256;
const maxId = 2 ** 31 - 1;

/** `clientThreads` is `--client-threads`, as is `client-threads`. */
function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function wholeNumber(
  value: unknown,
  name: string,
  min: number,
  max: number,
  where: string,
): number {
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isInteger(number) && number >= min && number <= max) {
    return number;
  }
  throw new PlanProblem(`${where}: ${name} must be a whole number from ${min} to ${max}`);
}

/** Checks what is known of a client by the names of its parts, in either form of plan. */
function clientOf(parts: Readonly<Record<string, unknown>>, where: string): PlannedClient {
  const { name, address, threads, id, ...unknown } = parts;
  const [foreign] = Object.keys(unknown);
  if (foreign !== undefined) {
    throw new PlanProblem(`${where}: a client has no "${foreign}", but threads and id`);
  }
  if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name)) {
    throw new PlanProblem(`${where}: a client needs a name of letters and digits`);
  }
  if (address !== undefined && (typeof address !== 'string' || isIP(address) === 0)) {
    const given = typeof address === 'string' ? address : JSON.stringify(address);
    throw new PlanProblem(`${where}: "${given}" is no IP address; leave it out for a free one`);
  }
  return {
    name,
    address,
    threads:
      threads === undefined ? undefined : wholeNumber(threads, 'threads', 1, maxThreads, where),
    id: id === undefined ? undefined : wholeNumber(id, 'id', 0, maxId, where),
    where,
  };
}

/** `client0 127.0.0.4 threads=4 id=16` */
function clientLine(text: string, where: string): PlannedClient {
  const [name = '', ...words] = text.split(/\s+/);
  const parts: Record<string, string> = { name };
  for (const word of words) {
    const [key = '', value, ...rest] = word.split('=');
    const [part, content] = value === undefined ? ['address', word] : [key, value];
    if (rest.length > 0 || part in parts) {
      throw new PlanProblem(`${where}: "${word}" is not understood; write NAME ADDRESS threads=N`);
    }
    parts[part] = content;
  }
  return clientOf(parts, where);
}

function parseLines(text: string): PlanFile {
  const options: PlannedOption[] = [];
  const clients: PlannedClient[] = [];
  text.split('\n').forEach((raw, index) => {
    const where = `line ${index + 1}`;
    const line = raw.replace(/(^|\s)#.*$/, '').trim();
    if (line === '') return;
    const option = /^(?<key>[A-Za-z-]+)\s*:\s*(?<value>.*)$/.exec(line)?.groups;
    if (option === undefined) {
      clients.push(clientLine(line, where));
      return;
    }
    const { key = '', value = '' } = option;
    if (value === '') throw new PlanProblem(`${where}: ${key} has no value`);
    options.push({ name: flagName(key), value, where });
  });
  return { options, clients };
}

function jsonOption(key: string, value: unknown): PlannedOption {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
    throw new PlanProblem(`"${key}": it must be a string, a number, true or false`);
  }
  return { name: flagName(key), value: String(value), where: `"${key}"` };
}

function parseJson(text: string): PlanFile {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new PlanProblem(error instanceof Error ? error.message : String(error));
  }
  // A text that begins with a brace and is JSON is an object.
  const { clients = [], ...options } = content as Record<string, unknown>;
  const list: unknown = typeof clients === 'number' ? [] : clients;
  if (!Array.isArray(list)) {
    throw new PlanProblem('"clients": it must be a number, or a list of clients');
  }
  const count = typeof clients === 'number' ? [jsonOption('clients', clients)] : [];
  return {
    options: [...count, ...Object.entries(options).map(([key, value]) => jsonOption(key, value))],
    clients: (list as unknown[]).map((each, index) => {
      const where = `"clients"[${index}]`;
      if (typeof each !== 'object' || each === null) {
        throw new PlanProblem(`${where}: it must be an object with a name`);
      }
      return clientOf({ ...each }, where);
    }),
  };
}

/** Throws a PlanProblem when a value is in two places. */
function refuseTwice<T extends { readonly where: string }>(
  all: readonly T[],
  what: string,
  valueOf: (each: T) => string | undefined,
): void {
  const seen = new Map<string, string>();
  for (const each of all) {
    const value = valueOf(each);
    if (value === undefined) continue;
    const before = seen.get(value);
    if (before !== undefined) {
      throw new PlanProblem(`${each.where}: the ${what} ${value} is in ${before} already`);
    }
    seen.set(value, each.where);
  }
}

/** Reads a plan in either form. Throws a PlanProblem. */
export function parsePlanFile(text: string): PlanFile {
  const plan = text.trimStart().startsWith('{') ? parseJson(text) : parseLines(text);
  refuseTwice(plan.options, 'option', ({ name }) => name);
  refuseTwice(plan.clients, 'client', ({ name }) => name);
  refuseTwice(plan.clients, 'address', ({ address }) => address);
  return plan;
}

/** The clients of a plan with all that it leaves open. Throws a PlanProblem for ids given twice. */
export function plannedClients(
  { clients }: PlanFile,
  threads: number,
  baseClientId: number,
): ClientPlan[] {
  let nextId = baseClientId;
  const resolved = clients.map((client) => {
    const plan = {
      name: client.name,
      baseClientId: client.id ?? nextId,
      threads: client.threads ?? threads,
      softAddress: client.address,
    };
    nextId = plan.baseClientId + plan.threads;
    return { plan, where: client.where };
  });
  const ids = resolved.flatMap(({ plan, where }) =>
    Array.from({ length: plan.threads }, (_, index) => ({
      id: String(plan.baseClientId + index),
      where,
    })),
  );
  refuseTwice(ids, 'client id', ({ id }) => id);
  return resolved.map(({ plan }) => plan);
}
