// The documentation of the metrics, and the dashboard, against the metrics that there are.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { histogramMetrics, numberMetrics } from '../../../src/metrics/definitions.js';
import { processMetrics } from '../../../src/metrics/process-metrics.js';
import { declaredMetrics } from '../../helpers/metrics.js';

const root = resolve(import.meta.dirname, '../../..');
const read = (path: string): string => readFileSync(resolve(root, path), 'utf8');

const ours = [...numberMetrics, ...histogramMetrics].map(({ name }) => name);
const histograms = new Set(histogramMetrics.map(({ name }) => name));

/** The metric that a name in a query stands for: a histogram has three names. */
function metricOf(name: string): string {
  const base = name.replace(/_(bucket|sum|count)$/, '');
  return histograms.has(base) ? base : name;
}

function namesIn(text: string): string[] {
  return [...new Set(text.match(/\b(verbena|process|nodejs)_[a-z0-9_]+\b/g) ?? [])];
}

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}

describe('docs/metrics.md', () => {
  const page = read('docs/metrics.md');

  it('has each metric in a row of a table, with its type', () => {
    const rows = page.split('\n').filter((line) => line.startsWith('| `verbena_'));
    const missing = ours.filter((name) => {
      const definition = numberMetrics.find((each) => each.name === name);
      const type = definition?.type ?? 'histogram';
      const row = rows.find((line) => line.split('|')[1]?.includes(`\`${name}\``));
      return row?.split('|')[2]?.trim() !== type;
    });
    expect(missing).toEqual([]);
  });

  it('names no metric that does not exist', () => {
    const named = namesIn(page).filter((name) => /^verbena_(?!soft_)/.test(name));
    expect(named.length).toBeGreaterThan(30);
    expect(named.filter((name) => !ours.includes(metricOf(name)))).toEqual([]);
  });
});

describe('docs/grafana/verbena.json', () => {
  const { panels } = JSON.parse(read('docs/grafana/verbena.json')) as { panels: Panel[] };

  it('asks for metrics that exist', async () => {
    const known = [...ours, ...declaredMetrics(await processMetrics().metrics())];
    const asked = panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => namesIn(expr)));
    expect(asked.length).toBeGreaterThan(20);
    expect(asked.filter((name) => !known.includes(metricOf(name)))).toEqual([]);
  });

  it('takes the rate of counters, never of gauges, and quantiles of histograms alone', () => {
    const expressions = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    const rated = expressions.flatMap((expr) => [...expr.matchAll(/rate\((\w+)/g)]);
    const names = rated.map(([, name]) => name ?? '');
    expect(names.filter((name) => !/_(total|bucket)$/.test(name))).toEqual([]);
    const counters = expressions.join('\n').match(/(?<!rate\()\bverbena_\w+_(total|bucket)\b/g);
    expect(counters).toBeNull();
  });
});

describe('the metrics', () => {
  it('are named as Prometheus wants: a prefix, a unit in the plural, counters with _total', () => {
    const wrong = numberMetrics.filter(({ name, type }) => {
      const isCounter = name.endsWith('_total');
      return !/^verbena_[a-z_]+$/.test(name) || isCounter !== (type === 'counter');
    });
    expect(wrong).toEqual([]);
    expect(histogramMetrics.every(({ name }) => name.endsWith('_seconds'))).toBe(true);
  });

  it('have one name each, and a sentence of help', () => {
    expect(ours).toEqual([...new Set(ours)]);
    const helps = [...numberMetrics, ...histogramMetrics].map(({ help }) => help);
    expect(helps.filter((help) => !/^[A-Z1].*\.$/.test(help))).toEqual([]);
  });
});
