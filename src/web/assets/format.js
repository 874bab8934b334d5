// Numbers, times and elements. Text only ever goes in as text nodes: log lines may hold markup.

/** Makes an element. `attributes` named `class`, `data-...` or `aria-...` are set as they are. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Changes the text only when it differs, so that a selection and a screen reader are left in peace. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

function trim(value, digits) {
  return Number(value.toPrecision(digits)).toString();
}

/** 0.0123, 4.56, 123, 12.3 k, 4.56 M. */
export function number(value) {
  if (!isNumber(value)) return '–';
  const size = Math.abs(value);
  if (size < 1e-4) return size === 0 ? '0' : value.toExponential(1);
  if (size < 1000) return trim(value, 3);
  for (const [unit, factor] of [['k', 1e3], ['M', 1e6], ['G', 1e9]]) {
    if (size < factor * 999.5) return `${trim(value / factor, 3)} ${unit}`;
  }
  return `${trim(value / 1e12, 3)} T`;
}

/** 512 B, 1.5 KiB, 3 GiB. */
export function bytes(value) {
  if (!isNumber(value)) return '–';
  let size = Math.abs(value);
  if (size < 1024) return `${trim(value, 3)} B`;
  let unit = -1;
  while (size >= 1000 && unit < 4) {
    size /= 1024;
    unit += 1;
  }
  return `${value < 0 ? '-' : ''}${trim(size, 3)} ${['KiB', 'MiB', 'GiB', 'TiB', 'PiB'][unit]}`;
}

const units = new Map(); // signal -> '%', 'share', 'B', 's', or nothing

/** Takes the units that signals are reported with. */
export function knowUnits(signals) {
  for (const { name, unit } of signals) units.set(name, unit);
}

export const unitOf = (name) => units.get(name);

/** A signal's value in its unit. */
export function inUnit(name, value) {
  if (!isNumber(value)) return '–';
  switch (units.get(name)) {
    case '%': return `${number(value)} %`;
    case 'share': return `${number(100 * value)} %`;
    case 'B': return bytes(value);
    case 's': return value === 0 ? '0 s' : micros(1e6 * value);
    default: return number(value);
  }
}

/** 340 us, 12 ms, 3.4 s. */
export function micros(value) {
  if (!isNumber(value)) return '–';
  if (value < 1000) return `${trim(value, 2)} µs`;
  if (value < 1e6) return `${trim(value / 1000, 3)} ms`;
  return `${trim(value / 1e6, 3)} s`;
}

/** 12 s, 3 min 20 s, 4 h 12 min, 3 d 4 h. */
export function duration(ms) {
  if (!isNumber(ms) || ms < 0) return '–';
  const seconds = Math.round(ms / 1000);
  const [days, hours] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24];
  const [minutes, rest] = [Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (large, unit, small, part) => (small ? `${large} ${unit} ${small} ${part}` : `${large} ${unit}`);
  if (days) return two(days, 'd', hours, 'h');
  if (hours) return two(hours, 'h', minutes, 'min');
  if (minutes) return two(minutes, 'min', rest, 's');
  return `${rest} s`;
}

/** A rough duration, for what lies ahead: 40 s, 12 min, 3 h. */
export function roughly(ms) {
  if (ms < 90e3) return `${Math.max(1, Math.ceil(ms / 1000))} s`;
  if (ms < 90 * 60e3) return `${Math.ceil(ms / 60e3)} min`;
  return `${Math.ceil(ms / 3600e3)} h`;
}

const two = (value) => String(value).padStart(2, '0');

/** 14:02:11 in the reader's zone. */
export function clock(ms) {
  const date = new Date(ms);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** The clock, with the day when it is not today. */
export function moment(ms) {
  if (!isNumber(ms)) return '–';
  const date = new Date(ms);
  if (date.toDateString() === new Date().toDateString()) return clock(ms);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(ms)}`;
}

/** "1 incident", "2 incidents". */
export function count(amount, one, many = `${one}s`) {
  return `${amount} ${amount === 1 ? one : many}`;
}

/** Asks the agent; throws when it does not answer within 8 s or not with 200. */
export async function ask(path) {
  const response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(8000) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}
