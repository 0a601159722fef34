// Merges the sources of configuration (flags, environment, file, defaults) and checks the whole.
import { z } from 'zod';
import type { WorkerAffinity } from '../workers/affinity.js';
import { placementStrategies, type PlacementStrategy } from '../workers/placement.js';
import { flagOf, logLevels, serveSettings, type Setting } from './settings.js';

export interface ServeConfig {
  readonly device: string;
  readonly softAddr?: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly devCert?: string | undefined;
  readonly maxConnections: number;
  readonly maxRegisteredBytes?: number | undefined;
  readonly maxRequestsPerConnection: number;
  readonly queueSize: number;
  readonly handshakeTimeoutMs: number;
  readonly maxPendingHandshakes: number;
  readonly connectionQueueSize: number;
  readonly connectionQueueTimeoutMs: number;
  readonly connectionRatePerAddress: number;
  readonly cpuThresholdPercent: number;
  readonly memoryThresholdPercent: number;
  readonly queueThresholdPercent: number;
  readonly memoryBudgetBytes?: number | undefined;
  readonly requestMemoryBytes?: number | undefined;
  readonly maxPayloadBytes: number;
  readonly regionBytes: number;
  readonly requestTimeoutMs: number;
  readonly keepaliveSec: number;
  readonly drainTimeoutMs: number;
  readonly handler?: string | undefined;
  readonly workers: number | 'auto';
  readonly workerStrategy: PlacementStrategy;
  readonly workerAffinity: WorkerAffinity;
  readonly workerChannelSize: number;
  readonly senderChannelSize: number;
  readonly workerHeapMb?: number | undefined;
  readonly adminPort?: number | undefined;
  readonly adminHost: string;
  readonly logLevel: (typeof logLevels)[number];
}

/** Values that are not allowed, each with where it came from, one a line. */
export class ConfigProblem extends Error {
  constructor(
    message: string,
    /** True when flags alone were at fault: a usage error, not one of the configuration. */
    readonly fromFlag: boolean,
  ) {
    super(message);
    this.name = 'ConfigProblem';
  }
}

export interface ConfigSources {
  /** Values given as flags, by key; strings as commander leaves them. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The parsed config file, and its path for messages. */
  readonly file?: { readonly path: string; readonly content: unknown } | undefined;
}

const numberText = z
  .string()
  .trim()
  .regex(/^-?\d+$/)
  .transform(Number);

/** `2,3,6-9` names six processors. */
const processorList = z
  .string()
  .trim()
  .regex(/^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$/)
  .transform((text) => text.split(',').flatMap(rangeOf))
  .refine((processors) => processors.length > 0);

function rangeOf(text: string): number[] {
  const [first = 0, last = first] = text.split('-').map(Number);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at);
}

function schemaOf(setting: Setting): z.ZodType {
  const integer = z.union([z.number(), numberText]).pipe(
    z
      .number()
      .int()
      .min(setting.min ?? 0)
      .max(setting.max ?? 65_535),
  );
  switch (setting.kind) {
    case 'text':
    case 'path':
      return z.string().min(1);
    case 'logLevel':
      return z.enum(logLevels);
    case 'strategy':
      return z.enum(placementStrategies);
    case 'affinity':
      return z.union([z.enum(['off', 'auto']), processorList]);
    case 'workers':
      return z.union([z.literal('auto'), integer]);
    case 'port':
    case 'count':
    case 'bytes':
    case 'percent':
    case 'seconds':
    case 'milliseconds':
      return integer;
  }
}

function allowed(setting: Setting): string {
  switch (setting.kind) {
    case 'text':
    case 'path':
      return 'a text that is not empty';
    case 'logLevel':
      return `one of ${logLevels.join(', ')}`;
    case 'strategy':
      return `one of ${placementStrategies.join(', ')}`;
    case 'affinity':
      return 'off, auto or a list of processors such as 2,3,6-9';
    case 'workers':
      return `auto or a whole number from ${setting.min ?? 0} to ${setting.max ?? 0}`;
    case 'port':
    case 'count':
    case 'bytes':
    case 'percent':
    case 'seconds':
    case 'milliseconds':
      return `a whole number from ${setting.min ?? 0} to ${setting.max ?? 65_535}`;
  }
}

/** Where a value came from, in order of precedence. */
export type SettingSource = 'flag' | 'environment' | 'file' | 'default';

export interface EffectiveSetting {
  readonly key: string;
  /** Undefined when nobody set it and it has no default. */
  readonly value: unknown;
  readonly source: SettingSource;
  /** The flag, the variable, or the key and its file, for people. */
  readonly from: string;
}

/** The first source that names the setting, in order of precedence. */
function pick(
  setting: Setting,
  { flags, env, file }: ConfigSources,
  fileValues: Readonly<Record<string, unknown>>,
): EffectiveSetting {
  const { key } = setting;
  if (flags[key] !== undefined) {
    return { key, value: flags[key], source: 'flag', from: flagOf(key) };
  }
  // An empty variable counts as not set, as it does for the soft device.
  if ((env[setting.env] ?? '') !== '') {
    return { key, value: env[setting.env], source: 'environment', from: setting.env };
  }
  if (key in fileValues) {
    const from = `${key} in ${file?.path ?? ''}`;
    return { key, value: fileValues[key], source: 'file', from };
  }
  return { key, value: setting.default, source: 'default', from: 'the default' };
}

/** The values of a file, and what is wrong with it as a whole. */
function readFileValues(file: ConfigSources['file']): {
  readonly values: Record<string, unknown>;
  readonly faults: string[];
} {
  if (file === undefined) return { values: {}, faults: [] };
  const parsed = z.record(z.string(), z.unknown()).safeParse(file.content);
  if (!parsed.success) return { values: {}, faults: [`${file.path} must hold one JSON object`] };
  const known = serveSettings.map(({ key }) => key as string);
  const unknown = Object.keys(parsed.data).filter((key) => !known.includes(key));
  const names = unknown.map((key) => `"${key}"`).join(', ');
  const fault = `${file.path} has ${names}, which is no setting; allowed are ${known.join(', ')}`;
  return { values: parsed.data, faults: unknown.length > 0 ? [fault] : [] };
}

/**
 * Every setting with its value and where that came from: flags over environment over file over
 * defaults. Throws a ConfigProblem that names all faults.
 */
export function effectiveSettings(sources: ConfigSources): EffectiveSetting[] {
  const { values, faults } = readFileValues(sources.file);
  let isUsage = faults.length === 0;
  const settings = (serveSettings as readonly Setting[]).map((setting): EffectiveSetting => {
    const picked = pick(setting, sources, values);
    if (picked.value === undefined) return picked;
    const parsed = schemaOf(setting).safeParse(picked.value);
    if (parsed.success) return { ...picked, value: parsed.data };
    const shown = JSON.stringify(picked.value);
    faults.push(`${picked.from} is ${shown}, but must be ${allowed(setting)}`);
    isUsage &&= picked.source === 'flag';
    return picked;
  });
  if (faults.length > 0) throw new ConfigProblem(faults.join('\n'), isUsage);
  return settings;
}

/** The configuration of `verbena serve`. */
export function serveConfig(sources: ConfigSources): ServeConfig {
  const set = effectiveSettings(sources).filter(({ value }) => value !== undefined);
  // Every key was checked against the table that the interface mirrors.
  return Object.fromEntries(set.map(({ key, value }) => [key, value])) as unknown as ServeConfig;
}
