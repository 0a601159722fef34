// How a command fails: exit codes, and one line on stderr that says what to do.
import { codeOf, isVerbenaErrorCode, messageOf } from '../errors.js';

export const ExitCode = {
  ok: 0,
  failure: 1,
  usage: 2,
  config: 78,
  interrupted: 130,
  terminated: 143,
} as const;

export interface CliFailureOptions {
  readonly cause?: unknown;
  /** What to do next, as an instruction. */
  readonly hint?: string;
  readonly exitCode?: number;
}

/** A failure of the user's kind: shown as one line, without a stack. */
export class CliFailure extends Error {
  readonly exitCode: number;

  constructor(what: string, { cause, hint, exitCode = ExitCode.failure }: CliFailureOptions = {}) {
    const why = cause === undefined ? '' : `: ${messageOf(cause)}`;
    super(`${what}${why}${hint === undefined ? '' : `; ${hint}`}`, { cause });
    this.name = 'CliFailure';
    this.exitCode = exitCode;
  }
}

/** What is written to stderr for anything that was thrown, and the exit code that goes with it. */
export function describeFailure(error: unknown): {
  readonly text: string;
  readonly exitCode: number;
} {
  if (error instanceof CliFailure) {
    return { text: `verbena: ${oneLine(error.message)}`, exitCode: error.exitCode };
  }
  const code = codeOf(error);
  // The native addon's errors have our codes but not our class.
  if (code !== undefined && isVerbenaErrorCode(code)) {
    const text = `verbena: ${oneLine(messageOf(error))} [${code}]`;
    return { text, exitCode: ExitCode.failure };
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const text = `verbena: internal error, please report it with the lines below\n${stack}`;
  return { text, exitCode: ExitCode.failure };
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, '; ');
}
