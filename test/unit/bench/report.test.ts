// The report of a run: one page that needs nothing else, and that no text can break out of.
import { describe, expect, it } from 'vitest';
import { reportPage, shellText } from '../../../src/bench/report.js';
import { benchResult } from '../../helpers/bench-result.js';

const hostile = '</script><img src=x onerror="alert(1)">&amp;';

describe('a report', () => {
  it('loads nothing from elsewhere', async () => {
    const page = await reportPage({ points: [benchResult()], labels: [], axis: '', command: 'x' });
    const sources = [...page.matchAll(/(?:src|href)="([^"]*)"|from '([^']*)'|url\(([^)]*)\)/g)];
    const targets = sources.map(([, one, other, third]) => one ?? other ?? third ?? '');
    expect(targets.length).toBeGreaterThan(0);
    expect(targets.filter((target) => !target.startsWith('data:'))).toEqual([]);
  });

  it('shows text as text, whatever is in it', async () => {
    const point = benchResult({ workload: hostile, problem: hostile, device: hostile });
    const report = { points: [point], labels: [], axis: '', command: hostile };
    const page = await reportPage(report);
    expect(page).not.toContain('<img');
    expect(page.match(/<\/script>/g)).toHaveLength(3);
    const json = /<script id="report" type="application\/json">(.*?)<\/script>/s.exec(page)?.[1];
    expect(JSON.parse(json ?? '')).toEqual({ points: [point], labels: [], axis: '' });
  });

  it('has a command that a shell takes as it was', () => {
    expect(shellText(['verbena', 'bench', 'a b', "it's", '--mix', 'echo=1,read=2'])).toBe(
      `verbena bench 'a b' 'it'\\''s' --mix echo=1,read=2`,
    );
  });
});
