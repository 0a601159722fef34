// The judge of dependencies itself: it must find what it is there to find.
import { describe, expect, it } from 'vitest';
import { findViolations } from '../../helpers/dependency-rules.js';

const rule = { '.': ['low'], high: ['low', 'low/deep'], low: [], 'low/deep': [] };

describe('findViolations', () => {
  it('allows a folder to use itself and what it is allowed', () => {
    const edges = [
      { from: 'high/a.ts', to: 'low/b.js' },
      { from: 'low/a.ts', to: 'low/b.js' },
      { from: 'index.ts', to: 'low/b.js' },
    ];
    expect(findViolations(edges, rule)).toEqual([]);
  });

  it.each([
    ['an upward edge', 'low/a.ts', 'high/b.js'],
    ['an edge into a nested layer that is not allowed', 'low/a.ts', 'low/deep/b.js'],
    ['an edge to the top that is not allowed', 'high/a.ts', 'index.js'],
    ['a source in an unknown folder', 'other/a.ts', 'low/b.js'],
    ['a target in an unknown folder', 'high/a.ts', 'other/b.js'],
  ])('reports %s', (_, from, to) => {
    expect(findViolations([{ from, to }], rule)).toHaveLength(1);
  });
});
