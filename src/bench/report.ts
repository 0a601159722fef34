// The report of a run or a series: one HTML page with everything in it, for light and dark.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { phaseNames, type PhasesUs } from './phases.js';
import { describeRange, plural } from './plan.js';
import type { BenchResult, Figures } from './result.js';
import {
  bytesText,
  latencyColumns,
  numberText,
  phaseRows,
  phaseShare,
  phaseTitles,
  seriesWarnings,
  warningsOf,
} from './table.js';

export interface Report {
  readonly points: readonly BenchResult[];
  /** What sets each point apart; empty for a single run. */
  readonly labels: readonly string[];
  /** What the points differ in: bytes, rate or runs. */
  readonly axis: string;
  /** As it can be typed again. */
  readonly command: string;
}

const require = createRequire(import.meta.url);
const read = (file: string | URL): Promise<string> => readFile(file, 'utf8');
const near = (path: string): Promise<string> => read(new URL(path, import.meta.url));

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

function escape(text: string | number): string {
  return String(text).replace(/[&<>"]/g, (character) => entities[character] ?? character);
}

/** JSON that cannot end the script element that it lies in. */
function embed(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c');
}

/** A command as a shell reads it. */
export function shellText(words: readonly string[]): string {
  return words
    .map((word) => (/^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(' ');
}

function card(title: string, content: string, className = ''): string {
  return `<section class="card ${className}"><h2>${escape(title)}</h2>${content}</section>`;
}

function figure(title: string, value: string, unit: string, note = ''): string {
  const text = `${escape(value)}<small>${escape(unit)}</small>`;
  return card(title, `<p class="figure">${text}</p><p class="note">${escape(note)}</p>`);
}

function figuresOf(result: BenchResult): string {
  const { operationsPerSecond, bytesPerSecond, latencyUs, operations, errors } = result;
  return [
    figure('Throughput', numberText(operationsPerSecond), '/s', 'operations'),
    figure('Payload', bytesText(bytesPerSecond), '/s', 'counted once'),
    figure('p50', numberText(latencyUs.p50), 'µs', 'latency'),
    figure('p99', numberText(latencyUs.p99), 'µs', 'latency'),
    figure('p99.9', numberText(latencyUs.p99_9), 'µs', 'latency'),
    figure('Errors', numberText(errors), '', `beside ${numberText(operations)}`),
  ].join('');
}

function tableOf(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = titles.map((title) => `<th>${escape(title)}</th>`).join('');
  const body = rows.map(
    (cells) => `<tr>${cells.map((cell) => `<td>${escape(cell)}</td>`).join('')}</tr>`,
  );
  return `<table><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table>`;
}

function table(rows: readonly (readonly [string, Figures])[]): string {
  const titles = ['', 'operations/s', 'errors', ...latencyColumns.map(([title]) => `${title} µs`)];
  const body = rows.map(([name, { operationsPerSecond, errors, latencyUs }]) => {
    const latencies = latencyColumns.map(([, key]) => numberText(latencyUs[key]));
    return [name, numberText(operationsPerSecond), numberText(errors), ...latencies];
  });
  return tableOf(titles, body);
}

/** The mean latency of each run, divided into its phases, on one scale. */
function phaseBars({ points, labels }: Report): string {
  const longest = Math.max(...points.map(({ phasesUs }) => phasesUs?.whole.mean ?? 0));
  const bars = points.map(({ phasesUs }, index) => {
    if (phasesUs === null) return '';
    const parts = phaseNames.map((name) => {
      const width = (100 * phasesUs[name].mean) / (longest || 1);
      const share = numberText(Math.round(1000 * phaseShare(phasesUs, name)) / 10);
      const title = `${phaseTitles[name]}: ${numberText(phasesUs[name].mean)} µs, ${share} %`;
      return `<i class="${name}" style="width:${width}%" title="${escape(title)}"></i>`;
    });
    const label = labels[index] ?? 'mean';
    return `<span>${escape(label)}</span><div class="phases">${parts.join('')}</div>`;
  });
  const names = phaseNames.map((name) => `<span class="${name}">${phaseTitles[name]}</span>`);
  return `<p class="phase-names">${names.join('')}</p><div class="spread">${bars.join('')}</div>`;
}

function phaseTable(phases: PhasesUs): string {
  const [titles = [], ...rows] = phaseRows(phases);
  return tableOf(titles, rows);
}

function phaseCards(report: Report): string {
  const [first] = report.points;
  if (!report.points.some(({ phasesUs }) => phasesUs !== null)) return '';
  const bars = card('Where the time went', phaseBars(report), 'wide');
  if (report.points.length > 1 || !first?.phasesUs) return bars;
  return bars + card('Phases', phaseTable(first.phasesUs), 'wide');
}

/** Where each thread's latencies lie, on one logarithmic scale. */
function spread({ perThread, latencyUs }: BenchResult): string {
  const low = Math.log(Math.max(latencyUs.min, 0.001));
  const width = Math.log(Math.max(latencyUs.max, 0.002)) - low || 1;
  const at = (us: number): string => `${((Math.log(Math.max(us, 0.001)) - low) / width) * 98}%`;
  const rows = perThread.map(({ clientId, latencyUs: { min, p50, p99, max } }) => {
    const title = `min ${min}, p50 ${p50}, p99 ${p99}, max ${max} µs`;
    const bar = `<i style="left:${at(min)};right:calc(98% - ${at(max)})"></i>`;
    const marks = `<b style="left:${at(p50)}"></b><b class="p99" style="left:${at(p99)}"></b>`;
    return (
      `<span>client ${clientId}</span>` +
      `<div class="track" title="${escape(title)}">${bar}${marks}</div>`
    );
  });
  const note = '<p class="note">From min to max, with marks at p50 and p99; logarithmic.</p>';
  return `${note}<div class="spread">${rows.join('')}</div>`;
}

function fingerprint({ points, labels, axis }: Report): string {
  const [first] = points;
  if (first === undefined) return '';
  const { host, device, server, startedAt, load } = first;
  const { bytes, depth, connections, rate, arrivals } = load;
  const rows = {
    device,
    server,
    'load generator': `${host.cpu}, ${host.cores} cores, Linux ${host.kernel}`,
    versions: `verbena ${host.verbena}, Node ${host.node}`,
    load:
      (axis === 'bytes' ? '' : `${describeRange(bytes)} bytes, `) +
      `${plural(connections, 'connection')} × depth ${depth}, ` +
      (rate === null ? 'closed loop' : `${rate}/s (${arrivals})`),
    ...(labels.length === 0 ? {} : { runs: `${labels[0] ?? ''} to ${labels.at(-1) ?? ''}` }),
    started: startedAt,
  };
  const list = Object.entries(rows).map(
    ([name, value]) => `<dt>${escape(name)}</dt><dd>${escape(value)}</dd>`,
  );
  return `<dl id="host">${list.join('')}</dl>`;
}

function warnings({ points, labels }: Report): string {
  const texts = labels.length === 0 ? points.flatMap(warningsOf) : seriesWarnings(points, labels);
  if (texts.length === 0) return '';
  const items = texts.map((text) => `<li>${escape(text)}</li>`);
  return card('Warnings', `<ul class="warnings">${items.join('')}</ul>`);
}

function bodyOf(report: Report): string {
  const { points, labels, command } = report;
  const [first] = points;
  if (first === undefined) return '';
  const isComplete = points.every(({ complete }) => complete);
  const state = isComplete ? 'complete' : 'incomplete';
  const isSeries = points.length > 1;
  const rows = isSeries
    ? points.map((point, index) => [labels[index] ?? '', point] as const)
    : [
        ...first.perThread.map((thread) => [`client ${thread.clientId}`, thread] as const),
        ['all', first] as const,
      ];
  const { workload, clients, threads } = first;
  const what = `${workload} from ${plural(clients, 'client')} with ${plural(threads, 'thread')}`;
  return [
    `<header><h1>verbena bench</h1><p class="${state}">${state}</p>`,
    `<dl id="about"><div><dt>load</dt><dd>${escape(what)}</dd></div></dl></header><main>`,
    warnings(report),
    isSeries ? '' : `<section id="figures">${figuresOf(first)}</section>`,
    '<section id="charts"></section>',
    phaseCards(report),
    isSeries ? '' : card('Spread of the clients', spread(first)),
    card(isSeries ? 'Runs' : 'Clients', table(rows), 'wide'),
    card('Where it ran', fingerprint(report)),
    card('To repeat it', `<pre>${escape(command)}</pre>`),
    '</main>',
  ].join('\n');
}

/** The page; it loads nothing. */
export async function reportPage(report: Report): Promise<string> {
  const [script, format, style, house, plot, plotStyle] = await Promise.all([
    near('./report/report.mjs'),
    near('../admin/page/format.mjs'),
    near('./report/report.css'),
    near('../admin/page/page.css'),
    read(require.resolve('uplot/dist/uPlot.iife.min.js')),
    read(require.resolve('uplot/dist/uPlot.min.css')),
  ]);
  const formatUrl = `data:text/javascript;base64,${Buffer.from(format).toString('base64')}`;
  const { points, labels, axis } = report;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>verbena bench: ${escape(points[0]?.workload ?? '')}</title>
<style>${plotStyle}${house}${style}</style>
</head>
<body>
${bodyOf(report)}
<script id="report" type="application/json">${embed({ points, labels, axis })}</script>
<script>${plot}</script>
<script type="module">${script.replace('../../admin/page/format.mjs', formatUrl)}</script>
</body>
</html>
`;
}
