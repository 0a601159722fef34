// The charts of a report, drawn by uPlot from the document that lies in the page.
import * as format from '../../admin/page/format.mjs';

const { points, labels, axis } = JSON.parse(document.getElementById('report').textContent);
const isSeries = points.length > 1;
const [first] = points;

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
const duration = (us) => format.text(format.duration(us === null ? undefined : us / 1000));
const rate = (value) => format.rate(value).join('');

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const floorLog = (value) => Math.floor(Math.log10(value > 0 ? value : 0.1));

/** Powers of ten only. */
function decades(_plot, _axis, low, high) {
  const all = [];
  for (let each = floorLog(low); 10 ** each <= high * 1.001; each++) all.push(10 ** each);
  return all;
}

const logarithmic = {
  distr: 3,
  range: (_plot, low, high) => [10 ** floorLog(low), 10 ** (floorLog(high) + 1)],
};
const fromZero = { range: (_plot, _low, high) => [0, high > 0 ? high * 1.15 : 1] };
const keepAll = (_plot, splits) => splits;

/** 90 % is one step to the right of 0, 99 % two. */
const depthOf = (percent) => -Math.log10(1 - percent / 100);
const percentOf = (depth) => Number((100 * (1 - 10 ** -depth)).toPrecision(7));

/** Of many runs a few, the first and the last among them. */
function few(count) {
  const shown = Math.min(count, 6);
  return Array.from({ length: shown }, (_, index) =>
    shown === 1 ? 0 : Math.round((index * (count - 1)) / (shown - 1)),
  );
}

function overTime() {
  const rows = first.series.filter(({ seconds }) => seconds > 0);
  const x = { values: rows.map(({ at }) => at), show: (at) => `${Number(at.toFixed(1))} s` };
  return [
    {
      title: 'Throughput over time',
      x,
      show: rate,
      y: fromZero,
      lines: [
        ['operations/s', 'violet', rows.map((row) => row.operations / row.seconds), true],
        ['errors/s', 'red', rows.map((row) => row.errors / row.seconds)],
      ],
    },
    {
      title: 'Latency over time',
      x,
      show: duration,
      y: logarithmic,
      lines: [
        ['p50', 'violet', rows.map(({ p50Us }) => p50Us || null)],
        ['p99', 'teal', rows.map(({ p99Us }) => p99Us || null)],
        ['max', 'red', rows.map(({ maxUs }) => maxUs || null)],
      ],
    },
  ];
}

function overSteps() {
  const x = {
    values: points.map((_, index) => index),
    show: (index) => labels[index] ?? '',
    whole: true,
  };
  const latency = (name) => points.map(({ latencyUs }) => latencyUs[name] || null);
  return [
    {
      title: `Throughput by ${axis}`,
      x,
      show: rate,
      y: fromZero,
      lines: [['operations/s', 'violet', points.map((point) => point.operationsPerSecond), true]],
    },
    {
      title: `Latency by ${axis}`,
      x,
      show: duration,
      y: logarithmic,
      lines: [
        ['p50', 'violet', latency('p50')],
        ['p99', 'teal', latency('p99')],
        ['p99.9', 'red', latency('p99_9')],
      ],
    },
  ];
}

/** One line for each run shown; each has its own percentiles, so all share one list of them. */
function percentileCurve() {
  const chosen = few(points.length);
  const all = new Set(chosen.flatMap((index) => points[index].curve.map(([percent]) => percent)));
  const percents = [...all].filter((percent) => percent < 100).sort((a, b) => a - b);
  const lines = chosen.map((index, position) => {
    const values = new Map(points[index].curve);
    const name = isSeries ? labels[index] : 'latency';
    const share = chosen.length === 1 ? 0 : (position / (chosen.length - 1)) * 100;
    const mixed = () => `color-mix(in srgb, ${color('teal')} ${share}%, ${color('violet')})`;
    return [name, mixed, percents.map((percent) => values.get(percent) || null), !isSeries];
  });
  return {
    title: 'Latency by percentile',
    x: { values: percents.map(depthOf), show: (depth) => `${percentOf(depth)} %`, whole: true },
    show: duration,
    y: logarithmic,
    lines,
  };
}

const paint = (name) => (typeof name === 'function' ? name() : color(name));

function optionsOf({ x, show, y, lines }, size, onCursor) {
  const common = {
    stroke: color('muted'),
    font: '11px system-ui, sans-serif',
    grid: { stroke: color('line'), width: 1 },
    ticks: { show: false },
  };
  const ticks = y === logarithmic ? { splits: decades, filter: keepAll } : {};
  return {
    ...size,
    legend: { show: false },
    padding: [8, 28, 0, 0],
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: false }, y },
    axes: [
      {
        ...common,
        grid: { show: false },
        size: 24,
        ...(x.whole ? { incrs: [1, 2, 5, 10, 20] } : {}),
        values: (_plot, splits) => splits.map((at) => x.show(at)),
      },
      { ...common, size: 66, values: (_plot, splits) => splits.map((at) => show(at)), ...ticks },
    ],
    series: [
      {},
      ...lines.map(([, name, , isFilled]) => ({
        stroke: paint(name),
        width: 1.5,
        points: { show: x.values.length < 2 },
        ...(isFilled ? { fill: `color-mix(in srgb, ${paint(name)} 12%, transparent)` } : {}),
      })),
    ],
    hooks: { setCursor: [onCursor] },
  };
}

class Chart {
  #definition;
  #box = element('div', 'plot');
  #values;
  #plot;

  constructor(parent, definition) {
    this.#definition = definition;
    const card = element('div', 'card');
    const title = element('div', 'title');
    const legend = element('div', 'legend');
    this.#values = definition.lines.map(([label]) => {
      const value = element('span', '', label);
      legend.append(value);
      return value;
    });
    title.append(element('h2', '', definition.title), legend);
    card.append(title, this.#box);
    parent.append(card);
    this.draw();
    new ResizeObserver(() => this.#plot.setSize(this.#size())).observe(this.#box);
  }

  /** Anew, with the colours of now. */
  draw() {
    const { x, lines } = this.#definition;
    this.#plot?.destroy();
    const data = [x.values, ...lines.map(([, , values]) => values)];
    const options = optionsOf(this.#definition, this.#size(), (plot) => this.#show(plot));
    this.#plot = new globalThis.uPlot(options, data, this.#box);
    for (const [index, [, name]] of lines.entries()) {
      this.#values[index].style.setProperty('--mark', paint(name));
    }
  }

  /** Beside the labels: the values under the cursor, if it is there. */
  #show({ cursor }) {
    const { x, lines, show } = this.#definition;
    for (const [index, [label, , values]] of lines.entries()) {
      const value = cursor.idx === null ? undefined : values[cursor.idx];
      const at = index === 0 && cursor.idx !== null ? `${x.show(x.values[cursor.idx])} · ` : '';
      this.#values[index].textContent =
        value === undefined || value === null ? label : `${at}${label} ${show(value)}`;
    }
  }

  #size() {
    return { width: Math.max(this.#box.clientWidth, 100), height: this.#box.clientHeight || 240 };
  }
}

const parent = document.getElementById('charts');
const charts = [...(isSeries ? overSteps() : overTime()), percentileCurve()].map(
  (definition) => new Chart(parent, definition),
);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const chart of charts) chart.draw();
});
