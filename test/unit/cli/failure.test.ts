// What a failed command says: one line for the user's kind of failure, a stack for ours.
import { describe, expect, it } from 'vitest';
import { CliFailure, describeFailure, ExitCode } from '../../../src/cli/failure.js';
import { VerbenaError } from '../../../src/errors.js';

describe('describeFailure', () => {
  it('puts what happened, why and what to do on one line, and keeps the exit code', () => {
    const failure = new CliFailure('cannot read x.pem', {
      cause: new Error('permission denied'),
      hint: 'give a file that can be read',
      exitCode: ExitCode.config,
    });
    expect(describeFailure(failure)).toEqual({
      text: 'verbena: cannot read x.pem: permission denied; give a file that can be read',
      exitCode: 78,
    });
  });

  it("shows an error's stable code and folds its lines into one", () => {
    const error = new VerbenaError('ERR_VERBENA_LISTEN', 'port 1 is in use\n  use another');
    expect(describeFailure(error)).toEqual({
      text: 'verbena: port 1 is in use; use another [ERR_VERBENA_LISTEN]',
      exitCode: 1,
    });
  });

  it('shows the stack of an error that nobody expected', () => {
    const { text, exitCode } = describeFailure(new TypeError('x is not a function'));
    expect(text).toMatch(/internal error.*\nTypeError: x is not a function\n\s+at /);
    expect(exitCode).toBe(1);
  });

  it('copes with anything that can be thrown', () => {
    expect(describeFailure('just text').text).toContain('just text');
  });
});
