// Draws the plots of docs/performance.md again, from what `bench:peers` and `bench:soak` printed
// with --json.
//
//   npm run --silent bench:plots -- FILE... [--plots docs/plots]
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { drawPlots } from './lib/plots.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { plots: { type: 'string', default: 'docs/plots' } },
});
for (const file of positionals) drawPlots(JSON.parse(readFileSync(file, 'utf8')), values.plots);
