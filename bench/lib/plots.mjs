// What the plots of docs/performance.md show of the results of the benchmarks.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lineChart, markChart } from './svg.mjs';

const caseTitles = {
  'echo-64-1x1': '64 B, 1 × 1',
  'echo-64-16x1': '64 B, 16 × 1',
  'echo-64-16x16': '64 B, 16 × 16',
  'echo-64-64x16': '64 B, 64 × 16',
  'echo-64-1000x1': '64 B, 1,000 × 1',
  'echo-64Ki-4x4': '64 KiB, 4 × 4',
  'oneway-1Mi-1x4': '1 MiB one way, 1 × 4',
  'read-64-16x16': '64 B read, 16 × 16',
  'write-64-16x16': '64 B written, 16 × 16',
};

const seriesOf = (results) => [...new Set(results.map(({ peer }) => peer))];

/** A row for each case, a mark in it for each peer. */
function rowsOf(results, markOf) {
  const names = [...new Set(results.map((one) => one.case))];
  return names.map((name) => ({
    name: caseTitles[name],
    marks: Object.fromEntries(
      results.filter((one) => one.case === name).map((one) => [one.peer, markOf(one)]),
    ),
  }));
}

function drawPeers({ results }) {
  const small = results.filter((one) => one.case.startsWith('echo-64-'));
  return {
    'requests.svg': markChart({
      title: 'Requests a second',
      note: 'connections × requests under way on each; to the right is better',
      series: seriesOf(results),
      rows: rowsOf(results, ({ requestsPerSecond }) => ({ to: requestsPerSecond })),
    }),
    'latency.svg': markChart({
      title: 'Time of a request of 64 B in µs, from p50 to p99',
      note: 'connections × requests under way on each; to the left is better',
      series: seriesOf(small),
      rows: rowsOf(small, ({ p50Us, p99Us }) => ({ from: p50Us, to: p99Us })),
    }),
  };
}

function drawSoak({ intervals, intervalSeconds, rate, connections, idle }) {
  const over = (of) => intervals.map((row) => [(row.at * intervalSeconds) / 60, of(row)]);
  const times = ['p50', 'p99'].map((name) => ({ name, points: over((row) => row[`${name}Us`]) }));
  const heap = (name) => over((row) => row[name].heapBytes / 2 ** 20);
  return {
    'soak.svg': lineChart({
      title: 'Requests at a steady rate: their time, and the heap in use, by minute',
      note: `${rate} requests of 64 B a second on ${connections} connections; ${idle} idle ones`,
      panels: [
        { unit: 'µs', isLogarithmic: true, lines: times },
        {
          unit: 'MiB',
          lines: [
            { name: 'heap of the server', points: heap('server') },
            { name: 'heap of the client', points: heap('client') },
          ],
        },
      ],
    }),
  };
}

/** Draws what a benchmark found out, its document of --json, into a folder. */
export function drawPlots(result, folder) {
  const plots = 'intervals' in result ? drawSoak(result) : drawPeers(result);
  mkdirSync(folder, { recursive: true });
  for (const [name, svg] of Object.entries(plots)) writeFileSync(join(folder, name), svg);
}
