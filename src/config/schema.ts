// Merges the sources of configuration (flags, environment, file, defaults) and checks the whole.
import { z } from 'zod';
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
  readonly maxPayloadBytes: number;
  readonly regionBytes: number;
  readonly requestTimeoutMs: number;
  readonly keepaliveSec: number;
  readonly drainTimeoutMs: number;
  readonly adminPort?: number | undefined;
  readonly adminHost: string;
  readonly logLevel: (typeof logLevels)[number];
}

/** A value that is not allowed, and where it came from. */
export class ConfigProblem extends Error {
  constructor(
    message: string,
    /** True when a flag was at fault: a usage error, not one of the configuration. */
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
    case 'port':
    case 'count':
    case 'bytes':
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
    case 'port':
    case 'count':
    case 'bytes':
    case 'seconds':
    case 'milliseconds':
      return `a whole number from ${setting.min ?? 0} to ${setting.max ?? 65_535}`;
  }
}

/** The first source that names the setting, in order of precedence. */
function pick(
  setting: Setting,
  { flags, env, file }: ConfigSources,
  fileValues: Readonly<Record<string, unknown>>,
): { readonly value: unknown; readonly from: string; readonly isFlag: boolean } {
  const { key } = setting;
  if (flags[key] !== undefined) return { value: flags[key], from: flagOf(key), isFlag: true };
  // An empty variable counts as not set, as it does for the soft device.
  if ((env[setting.env] ?? '') !== '') {
    return { value: env[setting.env], from: setting.env, isFlag: false };
  }
  if (key in fileValues) {
    return { value: fileValues[key], from: `${key} in ${file?.path ?? ''}`, isFlag: false };
  }
  return { value: setting.default, from: 'the default', isFlag: false };
}

function fileValuesOf(file: ConfigSources['file']): Record<string, unknown> {
  if (file === undefined) return {};
  const parsed = z.record(z.string(), z.unknown()).safeParse(file.content);
  if (!parsed.success) throw new ConfigProblem(`${file.path} must hold one JSON object`, false);
  const known = serveSettings.map(({ key }) => key as string);
  const unknown = Object.keys(parsed.data).filter((key) => !known.includes(key));
  if (unknown.length > 0) {
    throw new ConfigProblem(
      `${file.path} has ${unknown.map((key) => `"${key}"`).join(', ')}, which is no setting; ` +
        `allowed are ${known.join(', ')}`,
      false,
    );
  }
  return parsed.data;
}

/** The configuration of `verbena serve`: flags over environment over file over defaults. */
export function serveConfig(sources: ConfigSources): ServeConfig {
  const fileValues = fileValuesOf(sources.file);
  const config: Record<string, unknown> = {};
  for (const setting of serveSettings as readonly Setting[]) {
    const { value, from, isFlag } = pick(setting, sources, fileValues);
    if (value === undefined) continue;
    const parsed = schemaOf(setting).safeParse(value);
    if (!parsed.success) {
      const shown = JSON.stringify(value);
      throw new ConfigProblem(`${from} is ${shown}, but must be ${allowed(setting)}`, isFlag);
    }
    config[setting.key] = parsed.data;
  }
  // Every key was checked against the table that the interface mirrors.
  return config as unknown as ServeConfig;
}
