// The charts of the last five minutes, drawn by uPlot; all follow one cursor.
import * as format from './format.mjs';

const SECONDS = 300;
const perSecond = (value) => format.rate(value).join('');
const bytesPerSecond = (value) => `${format.text(format.bytes(value))}/s`;
const duration = (value) => format.text(format.duration(value));

/** Distances of ticks: powers of two for bytes, whole numbers for clients. */
const binary = Array.from({ length: 44 }, (_, power) => 2 ** power);
const whole = [1, 10, 100, 1000, 10_000].flatMap((ten) => [ten, 2 * ten, 5 * ten]);

/** Powers of ten, and between them 2 and 5 where there are few. */
function decades(_plot, _axis, low, high) {
  const exponents = [];
  for (let each = floorLog(low); 10 ** each <= high * 1.001; each++) exponents.push(each);
  const steps = exponents.length > 3 ? [1] : [1, 2, 5];
  const all = exponents.flatMap((exponent) => steps.map((step) => step * 10 ** exponent));
  return all.filter((at) => at >= low * 0.999 && at <= high * 1.001);
}

const definitions = [
  {
    title: 'Requests',
    show: perSecond,
    series: [
      { label: 'all', color: 'violet', key: 'requestsPerSecond', fill: true },
      { label: 'errors', color: 'red', key: 'errorsPerSecond' },
    ],
  },
  {
    title: 'Latency',
    show: duration,
    ticks: { splits: decades, filter: (_plot, splits) => splits },
    // From microseconds to seconds, and both lines to be told from the ground.
    y: { distr: 3, range: (_plot, low, high) => [10 ** floorLog(low), 10 ** (floorLog(high) + 1)] },
    series: [
      { label: 'p50', color: 'violet', key: 'p50Ms' },
      { label: 'p99', color: 'teal', key: 'p99Ms' },
    ],
  },
  {
    title: 'Bytes',
    show: bytesPerSecond,
    ticks: { incrs: binary },
    series: [
      { label: 'received', color: 'violet', key: 'receivedBytesPerSecond', fill: true },
      { label: 'sent', color: 'teal', key: 'sentBytesPerSecond' },
    ],
  },
  {
    title: 'Clients',
    show: format.count,
    ticks: { incrs: whole },
    series: [{ label: 'connected', color: 'violet', key: 'connections', fill: true }],
  },
];

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);

const floorLog = (ms) => Math.floor(Math.log10(ms ?? 0.1));

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Where ticks go: rounder than uPlot's choice when everything is 0. */
function yRange(_plot, _low, high) {
  return [0, high > 0 ? high * 1.15 : 1];
}

function axes({ show, ticks }) {
  const common = {
    stroke: color('muted'),
    font: '11px system-ui, sans-serif',
    grid: { stroke: color('line'), width: 1 },
    ticks: { show: false },
  };
  return [
    {
      ...common,
      grid: { show: false },
      size: 24,
      splits: () => [-240, -180, -120, -60, 0],
      values: (_plot, splits) => splits.map((at) => (at === 0 ? 'now' : `${-at / 60} min`)),
    },
    {
      ...common,
      size: 62,
      space: 36,
      values: (_plot, splits) => splits.map((at) => (at === null ? null : show(at))),
      ...ticks,
    },
  ];
}

class Chart {
  #definition;
  #box = element('div', 'plot');
  #values;
  #plot;
  #data;

  constructor(parent, definition) {
    this.#definition = definition;
    this.#data = [[], ...definition.series.map(() => [])];
    const card = element('div', 'card');
    const title = element('div', 'title');
    const legend = element('div', 'legend');
    this.#values = definition.series.map((series) => {
      const value = element('span', series.color, series.label);
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
    const { series, y } = this.#definition;
    this.#plot?.destroy();
    this.#plot = new globalThis.uPlot(
      {
        ...this.#size(),
        legend: { show: false },
        padding: [8, 14, 0, 0],
        cursor: { y: false, drag: { x: false, y: false }, sync: { key: 'verbena' } },
        scales: { x: { time: false, range: [-SECONDS, 0] }, y: y ?? { range: yRange } },
        axes: axes(this.#definition),
        series: [
          {},
          ...series.map(({ color: name, fill }) => ({
            stroke: color(name),
            width: 1.5,
            points: { show: false },
            ...(fill ? { fill: `color-mix(in srgb, ${color(name)} 12%, transparent)` } : {}),
          })),
        ],
        hooks: { setCursor: [() => this.#showValues()] },
      },
      this.#data,
      this.#box,
    );
  }

  set(samples) {
    const now = samples.at(-1)?.timestampMs ?? 0;
    this.#data = [
      samples.map(({ timestampMs }) => (timestampMs - now) / 1000),
      ...this.#definition.series.map(({ key }) => samples.map((sample) => sample[key])),
    ];
    this.#plot.setData(this.#data);
    this.#showValues();
  }

  /** Beside the labels: the values under the cursor, or the last ones. */
  #showValues() {
    const at = this.#plot?.cursor.idx ?? this.#data[0].length - 1;
    for (const [index, { label }] of this.#definition.series.entries()) {
      const value = this.#data[index + 1][at];
      const shown = value === undefined || value === null ? '–' : this.#definition.show(value);
      this.#values[index].textContent = `${label} ${shown}`;
    }
  }

  #size() {
    return { width: Math.max(this.#box.clientWidth, 100), height: this.#box.clientHeight || 168 };
  }
}

export class Charts {
  #charts;
  #samples = [];

  constructor(parent) {
    this.#charts = definitions.map((definition) => new Chart(parent, definition));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      for (const chart of this.#charts) chart.draw();
    });
  }

  /** Starts anew with what the server remembers. */
  reset(samples) {
    this.#samples = [...samples];
    this.#show();
  }

  add(sample) {
    this.#samples.push(sample);
    if (this.#samples.length > SECONDS) this.#samples.shift();
    this.#show();
  }

  #show() {
    for (const chart of this.#charts) chart.set(this.#samples);
  }
}
