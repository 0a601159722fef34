// The inputs that fuzzing kept for what TypeScript parses, and those that were written for it.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import * as planFile from '../../src/bench/plan-file.js';
import * as schema from '../../src/config/schema.js';
import * as errors from '../../src/errors.js';
import * as frame from '../../src/handshake/frame.js';
import * as messages from '../../src/handshake/messages.js';
import { parserTargets } from '../fuzz/parsers.mjs';

const corpus = fileURLToPath(new URL('../fuzz/corpus/', import.meta.url));
const api = { ...errors, ...frame, ...messages, ...schema, ...planFile };

describe.each(Object.entries(parserTargets(api)))('the parser of a %s', (name, target) => {
  const files = readdirSync(join(corpus, name));

  it.each(files)('keeps its promises for %s', (file) => {
    expect(() => {
      target(readFileSync(join(corpus, name, file)));
    }).not.toThrow();
  });
});
