// Charts as SVG for light and dark pages: marks on a logarithmic scale, and lines over time.
const WIDTH = 720;
const LEFT = 190;
const RIGHT = 24;
const TOP = 56;
const LANE = 11;
const ROW_GAP = 12;
const PANEL = 150;
const AXIS = 80;
const colours = ['#9b5de5', '#3d8bd4', '#2fa084', '#d08a1d', '#cf5f7b', '#8b919c'];

const style = `
text { font: 12px system-ui, sans-serif; fill: #333 }
.title { font-size: 15px; font-weight: 600 }
.note { fill: #777 }
.grid { stroke: #8884; stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .note { fill: #999 } }
`;

const entities = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escape = (value) => String(value).replace(/[&<>"]/g, (character) => entities[character]);
const fixed = (value) => Number(value.toFixed(1));

const text = (x, y, content, attributes = '') =>
  `<text x="${fixed(x)}" y="${fixed(y)}" ${attributes}>${escape(content)}</text>`;
const line = (x1, y1, x2, y2, attributes) =>
  `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" ${attributes}/>`;

/** 1,200,000 becomes 1.2 M. */
function short(value) {
  const [divisor, unit] = value >= 1e6 ? [1e6, ' M'] : value >= 1e3 ? [1e3, ' k'] : [1, ''];
  return `${Number((value / divisor).toPrecision(3))}${unit}`;
}

function frame(title, height, parts) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${fixed(height)}" role="img">`,
    `<title>${escape(title)}</title><style>${style}</style>`,
    text(8, 20, title, 'class="title"'),
    ...parts,
    '</svg>\n',
  ].join('\n');
}

/** Names with their colours, in one line. */
function legend(names, y) {
  let x = 8;
  return names.flatMap((name, index) => {
    const at = x;
    x += 30 + name.length * 7;
    const dot = `<circle cx="${at + 5}" cy="${y - 4}" r="5" fill="${colours[index]}"/>`;
    return [dot, text(at + 14, y, name)];
  });
}

/** From 0 to 1, with ticks at powers of ten. */
function logScale(values) {
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))));
  const ticks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  return { ticks, at: (value) => (Math.log10(value) - low) / (high - low) };
}

/** From 0 to 1, with ticks at 0, the middle and a round number. */
function linearScale(values) {
  const most = Math.max(...values);
  const magnitude = 10 ** Math.floor(Math.log10(most));
  const steps = [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * magnitude);
  const highest = steps.find((step) => step >= most);
  return { ticks: [0, highest / 2, highest], at: (value) => value / highest };
}

/** From the axis to the value, or from one value to another. */
function mark({ from, to }, x, y, colour) {
  const begin = from === undefined ? LEFT : x(from);
  const attributes = `stroke="${colour}" stroke-width="${from === undefined ? 2 : 4}"`;
  const dot = fixed(from === undefined ? x(to) : begin);
  return [
    line(begin, y, x(to), y, `${attributes} stroke-opacity="0.55"`),
    `<circle cx="${dot}" cy="${fixed(y)}" r="4" fill="${colour}"/>`,
  ];
}

/**
 * Rows of marks, one for each of `series` that a row has, `{ name, marks: { series: { to, from } } }`:
 * a dot at `to`, or a dot at `from` with a bar up to `to`.
 */
export function markChart({ title, note, series, rows }) {
  const values = rows.flatMap(({ marks }) =>
    Object.values(marks).flatMap(({ from, to }) => (from === undefined ? [to] : [from, to])),
  );
  const { ticks, at } = logScale(values);
  const x = (value) => LEFT + at(value) * (WIDTH - LEFT - RIGHT);
  const parts = [];
  let y = TOP + 10;
  for (const { name, marks } of rows) {
    const present = series.filter((each) => marks[each] !== undefined);
    parts.push(text(LEFT - 10, y + (present.length * LANE) / 2, name, 'text-anchor="end"'));
    for (const each of present) {
      parts.push(...mark(marks[each], x, y, colours[series.indexOf(each)]));
      y += LANE;
    }
    y += ROW_GAP;
  }
  const bottom = y - ROW_GAP;
  const grid = ticks.flatMap((tick) => [
    line(x(tick), TOP, x(tick), bottom, 'class="grid"'),
    text(x(tick), bottom + 16, short(tick), 'text-anchor="middle" class="note"'),
  ]);
  const foot = text(8, bottom + 38, note, 'class="note"');
  return frame(title, bottom + 48, [...legend(series, 42), ...grid, ...parts, foot]);
}

/** One panel of lines over a common x. */
function panel({ unit, isLogarithmic, lines }, top, names) {
  const points = lines.flatMap((each) => each.points);
  const times = points.map(([at]) => at);
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const x = (at) => AXIS + ((at - first) / Math.max(1, last - first)) * (WIDTH - AXIS - RIGHT);
  const scale = (isLogarithmic ? logScale : linearScale)(points.map(([, value]) => value));
  const y = (value) => top + PANEL - scale.at(value) * PANEL;
  const grid = scale.ticks.flatMap((value) => [
    line(AXIS, y(value), WIDTH - RIGHT, y(value), 'class="grid"'),
    text(AXIS - 8, y(value) + 4, `${short(value)} ${unit}`, 'text-anchor="end" class="note"'),
  ]);
  const drawn = lines.map(({ name, points: own }) => {
    const path = own.map(([at, value]) => `${fixed(x(at))},${fixed(y(value))}`).join(' ');
    const colour = colours[names.indexOf(name)];
    return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`;
  });
  const ends = [first, last].map((at) =>
    text(x(at), top + PANEL + 16, at, 'text-anchor="middle" class="note"'),
  );
  return [...grid, ...drawn, ...ends];
}

/** Panels, `{ unit, isLogarithmic, lines: [{ name, points: [[x, y]] }] }`, below each other. */
export function lineChart({ title, note, panels }) {
  const names = panels.flatMap(({ lines }) => lines.map(({ name }) => name));
  const parts = panels.flatMap((each, index) => panel(each, TOP + 8 + index * (PANEL + 36), names));
  const bottom = TOP + 8 + panels.length * (PANEL + 36);
  const foot = text(8, bottom + 6, note, 'class="note"');
  return frame(title, bottom + 16, [...legend(names, 42), ...parts, foot]);
}
