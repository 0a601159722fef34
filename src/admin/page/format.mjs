// Numbers as people read them.

const grouped = new Intl.NumberFormat('en');
const scales = [
  [1e9, 'G'],
  [1e6, 'M'],
  [1e4, 'k', 1e3],
];
const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Three digits. */
function short(value) {
  return String(value >= 100 ? Math.round(value) : Number(value.toPrecision(3)));
}

export function count(value) {
  return grouped.format(value);
}

/** Number and unit, for `figure`. */
export function rate(value) {
  for (const [from, letter, by = from] of scales) {
    if (value >= from) return [`${short(value / by)}${letter}`, '/s'];
  }
  return [value >= 100 ? grouped.format(Math.round(value)) : short(value), '/s'];
}

export function bytes(value) {
  let unit = 0;
  let scaled = value;
  while (scaled >= 1024 && unit < byteUnits.length - 1) {
    scaled /= 1024;
    unit++;
  }
  return [short(scaled), byteUnits[unit]];
}

export function duration(ms) {
  if (ms === null || ms === undefined) return ['–', ''];
  if (ms < 1) return [short(ms * 1000), 'µs'];
  return ms < 1000 ? [short(ms), 'ms'] : [short(ms / 1000), 's'];
}

/** How long something has lasted. */
export function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [whole / 86400, (whole / 3600) % 24, (whole / 60) % 60].map(
    Math.floor,
  );
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** `ERR_VERBENA_PEER_CLOSED` → `peer closed`. */
export function words(code) {
  return code
    .replace(/^ERR_VERBENA_/, '')
    .replaceAll('_', ' ')
    .toLowerCase();
}

export const text = (parts) => parts.join(' ').trim();
