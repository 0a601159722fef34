// Results for people: a line for each second, and a table at the end.
import type { LatencyUs } from './histogram.js';
import { phaseNames, type PhaseName, type PhasesUs } from './phases.js';
import { plural } from './plan.js';
import type { BenchResult, Figures } from './result.js';
import type { SeriesResult } from './series.js';
import type { Second } from './timeline.js';

/** `1234567` as `1,234,567`; small numbers keep what makes them differ. */
export function numberText(value: number): string {
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

export function bytesText(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let scaled = value;
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return `${numberText(scaled)} ${units[unit] ?? ''}`;
}

function throughputText(operationsPerSecond: number, bytesPerSecond: number): string {
  return `${numberText(operationsPerSecond)} operations/s, ${bytesText(bytesPerSecond)}/s`;
}

/** One line of a run that goes on. */
export function secondLine(second: Second): string {
  const { at, seconds, operations, errors } = second;
  if (seconds === 0) return `${at.toFixed(0).padStart(4)} s  warm-up`;
  return [
    `${at.toFixed(0).padStart(4)} s`,
    throughputText(operations / seconds, second.bytes / seconds),
    `p50 ${numberText(second.p50Us)} µs`,
    `p99 ${numberText(second.p99Us)} µs`,
    `errors ${errors}`,
  ].join('  ');
}

export const latencyColumns: readonly (readonly [string, keyof LatencyUs])[] = [
  ['min', 'min'],
  ['p50', 'p50'],
  ['p90', 'p90'],
  ['p99', 'p99'],
  ['p99.9', 'p99_9'],
  ['p99.99', 'p99_99'],
  ['p99.999', 'p99_999'],
  ['max', 'max'],
];

function row(name: string, { operationsPerSecond, latencyUs }: Figures): string[] {
  const latencies = latencyColumns.map(([, key]) => numberText(latencyUs[key]));
  return [name, numberText(operationsPerSecond), ...latencies];
}

/** Columns aligned, numbers to the right. */
function align(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((cells) => cells[column]?.length ?? 0)),
  );
  return rows.map((cells) =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  '),
  );
}

export const phaseTitles: Readonly<Record<PhaseName | 'whole', string>> = {
  clientQueue: 'queued in the client',
  wire: 'on the wire',
  serverQueue: 'queued in the server',
  handler: 'in the handler',
  back: 'on the way back',
  whole: 'all phases',
};

/** Of the whole, 0 to 1. */
export function phaseShare(phases: PhasesUs, name: PhaseName | 'whole'): number {
  return phases.whole.mean === 0 ? 0 : phases[name].mean / phases.whole.mean;
}

/** A row for each phase, under a row of titles; all cells but the first are numbers. */
export function phaseRows(phases: PhasesUs): string[][] {
  const titles = latencyColumns.map(([title]) => title);
  const rows = ([...phaseNames, 'whole'] as const).map((name) => [
    phaseTitles[name],
    numberText(phases[name].mean),
    `${numberText(Math.round(1000 * phaseShare(phases, name)) / 10)} %`,
    ...latencyColumns.map(([, key]) => numberText(phases[name][key])),
  ]);
  return [[`µs of ${plural(phases.sampled, 'sample')}`, 'mean', 'share', ...titles], ...rows];
}

/** What a reader must know before believing the figures. */
export function warningsOf(result: BenchResult): string[] {
  const { problem, operations, unsent, beyondRange, saturation } = result;
  const warnings = problem === null ? [] : [`the run is incomplete: ${problem}`];
  if (unsent > 0) {
    warnings.push(
      `${unsent} operations that were planned could not be sent in time, because the server did ` +
        'not keep up or --depth is too low: the latencies of those are missing',
    );
  }
  if (beyondRange > 0) {
    warnings.push(`${beyondRange} latencies were longer than --highest-latency and count as that`);
  }
  if (result.phasesUs?.sampled === 0 && operations > 0) {
    warnings.push(
      'no phases were seen: there were too few operations for --phase-sample, or the server does ' +
        'not know of them',
    );
  }
  if (saturation.length > 0) {
    const [first = ''] = saturation;
    const more = saturation.length > 1 ? `, and ${plural(saturation.length - 1, 'other')}` : '';
    warnings.push(
      `the load generator was a bottleneck itself: ${first}${more}. Give it more processes or ` +
        'threads, another machine, or less load',
    );
  }
  return warnings;
}

/** The table for people. */
export function summaryOf(result: BenchResult): string {
  const { operations, errors, seconds, operationsPerSecond, bytesPerSecond, perThread } = result;
  const codes = Object.entries(result.errorCodes).map(([code, count]) => `${code} ${count}`);
  const rows = [
    ['latency in µs', 'operations/s', ...latencyColumns.map(([title]) => title)],
    ...(perThread.length > 1 ? perThread.map((each) => row(`client ${each.clientId}`, each)) : []),
    row('all', result),
  ];
  const phases = result.phasesUs === null ? [] : align(phaseRows(result.phasesUs));
  return [
    `${numberText(operations)} operations and ${errors} errors in ${seconds.toFixed(2)} s on ` +
      `${result.device}: ${throughputText(operationsPerSecond, bytesPerSecond)}`,
    ...(codes.length === 0 ? [] : [`errors: ${codes.join(', ')}`]),
    ...align(rows),
    ...phases,
    ...warningsOf(result).map((text) => `warning: ${text}`),
  ].join('\n');
}

/** Those of the first run that has any; how many others have some. */
export function seriesWarnings(
  points: readonly BenchResult[],
  labels: readonly string[],
): string[] {
  const all = points.map(warningsOf);
  const first = all.findIndex(({ length }) => length > 0);
  const others = all.slice(first + 1).filter(({ length }) => length > 0).length;
  const more = others === 0 ? '' : ` (warnings in ${plural(others, 'other run')} too)`;
  return (all[first] ?? []).map((text) => `${labels[first] ?? ''}: ${text}${more}`);
}

/** The table of a series: a line for each run. */
export function seriesSummary(series: SeriesResult, labels: readonly string[]): string {
  const { points, knee } = series;
  const rows = points.map((point, index) => row(labels[index] ?? '', point));
  return [
    ...align([
      ['latency in µs', 'operations/s', ...latencyColumns.map(([title]) => title)],
      ...rows,
    ]),
    ...(series.series === 'rate' ? [`kept up with: ${knee === null ? 'none' : `${knee}/s`}`] : []),
    ...seriesWarnings(points, labels).map((text) => `warning: ${text}`),
  ].join('\n');
}
