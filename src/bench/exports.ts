// Results for other programs: comma-separated values, and the log format of HdrHistogram.
import { HistogramLogWriter } from 'hdr-histogram-js';
import { percentiles } from './histogram.js';
import { phaseNames } from './phases.js';
import type { BenchResult } from './result.js';
import type { Totals } from './tally.js';
import type { Second } from './timeline.js';

type Cell = string | number | boolean | null;
type Column = readonly [string, (result: BenchResult) => Cell];

const columns: readonly Column[] = [
  ['startedAt', ({ startedAt }) => startedAt],
  ['device', ({ device }) => device],
  ['workload', ({ workload }) => workload],
  ['clients', ({ clients }) => clients],
  ['threads', ({ threads }) => threads],
  ['connections', ({ load }) => load.connections],
  ['depth', ({ load }) => load.depth],
  ['bytesMin', ({ load }) => load.bytes.min],
  ['bytesMax', ({ load }) => load.bytes.max],
  ['rate', ({ load }) => load.rate],
  ['operations', ({ operations }) => operations],
  ['errors', ({ errors }) => errors],
  ['seconds', ({ seconds }) => seconds],
  ['operationsPerSecond', ({ operationsPerSecond }) => operationsPerSecond],
  ['bytesPerSecond', ({ bytesPerSecond }) => bytesPerSecond],
  ...(['min', ...Object.keys(percentiles), 'max'] as (keyof BenchResult['latencyUs'])[]).map(
    (name): Column => [`${name}Us`, ({ latencyUs }) => latencyUs[name]],
  ),
  ['unsent', ({ unsent }) => unsent],
  ['generatorSaturated', ({ generatorSaturated }) => generatorSaturated],
  ['complete', ({ complete }) => complete],
  ...phaseNames.map((name): Column => [
    `${name}MeanUs`,
    ({ phasesUs }) => phasesUs?.[name].mean ?? null,
  ]),
];

function cell(value: Cell): string {
  const text = value === null ? '' : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A line of names and one for each run. */
export function toCsv(results: readonly BenchResult[]): string {
  const rows = results.map((result) => columns.map(([, of]) => cell(of(result))).join(','));
  return [columns.map(([name]) => name).join(','), ...rows, ''].join('\n');
}

/** Values are nanoseconds; the maximum of each line is in milliseconds, as others write it. */
const nsPerMs = 1e6;

/** A log with a histogram for each second, of one run or of several, each with its tag. */
export class HdrLog {
  #text = '';
  readonly #writer = new HistogramLogWriter((text) => (this.#text += text));
  readonly #startedMs = Date.now();
  #runMs = this.#startedMs;
  #tag: string | undefined;

  constructor() {
    this.#writer.outputLogFormatVersion();
    this.#writer.outputComment('[Latencies in nanoseconds, by verbena bench]');
    this.#writer.outputStartTime(this.#startedMs);
    this.#writer.outputLegend();
  }

  get text(): string {
    return this.#text;
  }

  /** Tags have no blanks or commas in this format. */
  beginRun(label?: string): void {
    this.#runMs = Date.now();
    this.#tag = label?.replaceAll(/[ ,]/g, '-');
  }

  add({ at, seconds }: Second, { latencies }: Totals): void {
    const { hdr } = latencies;
    if (hdr.totalCount === 0) return;
    if (this.#tag !== undefined) hdr.tag = this.#tag;
    const end = (this.#runMs - this.#startedMs) / 1000 + at;
    this.#writer.outputIntervalHistogram(hdr, end - seconds, end, nsPerMs);
  }
}
