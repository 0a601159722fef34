// docs/load-generator.md: every member of a result and every option, and none that is not there.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bench } from '../../../src/cli/bench-options.js';
import { benchPhases, benchResult } from '../../helpers/bench-result.js';
import { benchSchema, expectDocumented } from '../../helpers/bench-schema.js';
import { repository } from '../../helpers/process.js';

describe('docs/load-generator.md', () => {
  it('has every member of a result with its type, and no other', () => {
    const effort = { loopShare: 0, idleSpins: 0, coreWaitShare: 0, lateShare: 0 };
    const plain = benchResult();
    const full = benchResult({
      phasesUs: benchPhases(),
      perThread: plain.perThread.map((thread) => ({ ...thread, effort })),
      saturation: ['why'],
      errorCodes: { ERR_VERBENA_HANDLER: 1 },
      problem: 'why',
    });
    const found = new Set([plain, full].flatMap((result) => [...expectDocumented(result)]));
    expect([...benchSchema.keys()].filter((path) => !found.has(path))).toEqual([]);
  });

  it('has every option, and no other', () => {
    const page = readFileSync(join(repository, 'docs/load-generator.md'), 'utf8');
    const table = page.slice(page.indexOf('| option |'), page.indexOf('`connect` makes a'));
    const documented = [...table.matchAll(/--[a-z][a-z-]+/g)].map(([flag]) => flag);
    // Where the server is, and how it is known: as for every command.
    const common = ['--ca', '--insecure', '--device', '--soft-addr'];
    const flags = bench(() => undefined).options.map(({ long }) => long ?? '');
    expect(flags.filter((flag) => ![...documented, ...common].includes(flag))).toEqual([]);
    expect(documented.filter((flag) => !flags.includes(flag))).toEqual([]);
  });
});
