// The scenarios there are.
import type { Scenario } from '../scenario.js';
import { chaos } from './chaos.js';
import { concurrent } from './concurrent.js';
import { cycling } from './cycling.js';
import { full } from './full.js';
import { herd } from './herd.js';
import { mixed } from './mixed.js';
import { sequential } from './sequential.js';

export const scenarios: readonly Scenario[] = [
  sequential,
  concurrent,
  full,
  cycling,
  mixed,
  chaos,
  herd,
];
