// Live signals: one group of charts for each group of each detector. Values of the past come from /api/frames, where
// expected values and bands are not kept; those are drawn from the moment the page was opened.

import { ask, clock, duration, el, inUnit, isNumber, number, roughly, setText, unitOf } from './format.js';

const MAX_POINTS = 5000;
const HEIGHT = 108;
const POWERS = Array.from({ length: 50 }, (_, power) => 2 ** power); // steps of an axis in bytes
const TIERS = { level: 'knows the level', daily: 'knows the hours of the day', weekly: 'knows the days of the week' };
const groups = new Map(); // detector and group -> everything about it
let shownMs = 3600e3;
let colors = {};

const finite = (value) => (isNumber(value) ? value : null);

function readColors() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  colors = { value: of('--value'), expected: of('--expected'), band: of('--band'), bandNow: of('--band-now'), muted: of('--muted'), grid: of('--grid') };
}

/** Takes what all groups report: makes what is missing, appends new frames, removes groups that are gone. */
export function showSignals(root, reports) {
  const seen = new Set();
  for (const report of reports) {
    const key = `${report.detector}\n${report.name}`;
    seen.add(key);
    if (!groups.has(key)) {
      groups.set(key, makeGroup(report));
      root.append(groups.get(key).element);
    }
    update(groups.get(key), report);
  }
  for (const [key, group] of groups) {
    if (seen.has(key)) continue;
    for (const signal of group.signals.values()) signal.chart.destroy();
    group.element.remove();
    groups.delete(key);
  }
}

/** How much of the past is drawn. */
export function showSpan(ms) {
  shownMs = ms;
  for (const group of groups.values()) {
    if (group.names.length) loadPast(group, ms);
    draw(group);
  }
}

function makeGroup({ detector, name, history }) {
  const element = el('div', { class: 'card group', 'data-detector': detector, 'data-group': name });
  const chip = el('span', { class: 'chip' });
  const facts = el('span', { class: 'facts-line' });
  const models = el('div', { class: 'models' });
  const grid = el('div', { class: 'grid' });
  const title = el('h3', {}, detector, name ? el('span', { class: 'sub' }, ` ${name}`) : null);
  element.append(el('div', { class: 'group-head' }, title, chip, facts, models), grid);
  const group = { key: `${detector} ${name}`, history, element, chip, facts, models, grid, times: [], names: [], signals: new Map(), meters: new Map() };
  new ResizeObserver(() => fit(group)).observe(grid);
  return group;
}

function update(group, report) {
  setText(group.chip, report.state);
  group.chip.dataset.tone = { ready: 'good', learning: 'info', blind: 'warn' }[report.state] ?? 'info';
  const told = report.state === 'waiting' ? ['none of its metrics has come yet'] : [];
  if (report.state === 'learning' && isNumber(report.readyInMs)) told.push(`ready in ${roughly(report.readyInMs)}`);
  if (report.tier) told.push(TIERS[report.tier] ?? report.tier);
  if (isNumber(report.trainedMs)) told.push(`model ${roughly(Math.max(0, Date.now() - report.trainedMs))} old`);
  if (report.refused) told.push(`kept: ${report.refused}`);
  if (isNumber(report.learntFrames)) told.push(`learned from ${number(report.learntFrames)} frames`);
  if (isNumber(report.intervalMs)) told.push(`a frame every ${duration(report.intervalMs)}`);
  setText(group.facts, told.join(' · '));
  showModels(group, report.models);
  for (const { name } of report.signals) if (!group.signals.has(name)) addSignal(group, name);
  const reported = new Map(report.signals.map((signal) => [signal.name, signal]));
  for (const [name, signal] of group.signals) describe(signal, reported.get(name) ?? { name });
  if (group.signals.size !== group.names.length) {
    group.names = [...group.signals.keys()];
    loadPast(group, shownMs);
  }
  const last = group.times.at(-1) ?? 0;
  if (!isNumber(report.timeMs) || report.timeMs <= last) return;
  const missed = last && report.timeMs - last > 2.5 * (report.intervalMs ?? 10e3);
  append(group, report.timeMs, reported);
  if (missed) loadPast(group, shownMs); // the page slept
  draw(group);
}

function showModels(group, scores) {
  for (const [model, score] of scores) {
    if (!group.meters.has(model)) {
      const fill = el('span', { class: 'fill' });
      const text = el('span', { class: 'score' });
      const track = el('span', { class: 'track' }, fill, el('span', { class: 'boundary' }));
      const name = el('span', { class: 'model' }, String(model).replaceAll('_', ' '));
      const element = el('div', { class: 'meter', title: 'the mark is the boundary, 1.0' }, name, track, text);
      group.meters.set(model, { element, fill, text });
      group.models.append(element);
    }
    const meter = group.meters.get(model);
    meter.fill.style.width = `${Math.min(100, Math.max(0, (score ?? 0) / 1.5) * 100)}%`;
    meter.element.dataset.tone = score >= 1 ? 'bad' : score >= 0.8 ? 'warn' : 'good';
    setText(meter.text, isNumber(score) ? score.toFixed(2) : '–');
  }
  for (const [model, meter] of group.meters) {
    if (scores.some(([name]) => name === model)) continue;
    meter.element.remove();
    group.meters.delete(model);
  }
}

function addSignal(group, name) {
  const value = el('span', { class: 'now' });
  const usual = el('p', { class: 'usual' });
  const holder = el('div', { class: 'chart' });
  const label = `${name}: value, expected value and usual range over time`;
  const element = el('div', { class: 'signal', 'data-signal': name, 'data-testid': 'signal' }, el('div', { class: 'signal-head' }, el('h4', { title: name }, name), value), usual, holder);
  holder.setAttribute('role', 'img');
  holder.setAttribute('aria-label', label);
  group.grid.append(element);
  const empty = () => group.times.map(() => null);
  const signal = { name, element, value, usual, holder, points: [empty(), empty(), empty(), empty()], text: '' };
  signal.chart = makeChart(group, signal);
  group.signals.set(name, signal);
}

function describe(signal, report) {
  signal.latest = report;
  const { name, value, expected, lower, upper } = report;
  const out = isNumber(value) && ((isNumber(upper) && value > upper) || (isNumber(lower) && value < lower));
  signal.element.dataset.out = out ? 'yes' : 'no';
  setText(signal.value, !isNumber(value) ? 'missing' : inUnit(name, value));
  const range = isNumber(lower) && isNumber(upper) ? ` (${inUnit(name, lower)} – ${inUnit(name, upper)})` : '';
  signal.text = isNumber(expected) ? `expected ${inUnit(name, expected)}${range}` : 'nothing expected yet';
  if (!signal.hovered) setText(signal.usual, signal.text);
}

function append(group, timeMs, reported) {
  group.times.push(timeMs);
  for (const [name, signal] of group.signals) {
    const point = reported.get(name) ?? {};
    const values = [point.lower, point.upper, point.expected, point.value];
    values.forEach((value, at) => signal.points[at].push(finite(value)));
  }
  const excess = group.times.length - MAX_POINTS;
  if (excess <= 0) return;
  group.times.splice(0, excess);
  for (const signal of group.signals.values()) for (const points of signal.points) points.splice(0, excess);
}

/** Puts the stored values before and between those that the page has seen itself. */
async function loadPast(group, ms) {
  const to = (group.times.at(-1) ?? Date.now()) + 1;
  const names = [...group.names];
  const question = new URLSearchParams({ detector: group.history, signals: names.join(','), from_ms: Math.floor(to - ms), to_ms: to });
  let past;
  try {
    past = await ask(`/api/frames?${question}`);
  } catch {
    return; // the status that is polled says whether the agent answers
  }
  const known = new Map(group.times.map((time, at) => [time, at]));
  const stored = new Map(past.times.map((time, at) => [time, at]));
  const times = [...new Set([...past.times, ...group.times])].sort((a, b) => a - b).slice(-MAX_POINTS);
  for (const [name, signal] of group.signals) {
    const column = past.values[names.indexOf(name)] ?? [];
    signal.points = signal.points.map((points, at) => times.map((time) => {
      if (known.has(time)) return points[known.get(time)] ?? null;
      return at === 3 ? finite(column[stored.get(time)]) : null;
    }));
  }
  group.times = times;
  draw(group);
}

function draw(group) {
  const seconds = group.times.map((time) => time / 1000);
  for (const signal of group.signals.values()) signal.chart.setData([seconds, ...signal.points]);
}

function fit(group) {
  for (const { chart, holder } of group.signals.values()) {
    const width = Math.floor(holder.clientWidth);
    if (width > 0 && width !== chart.width) chart.setSize({ width, height: HEIGHT });
  }
}

/** The time that is shown; a single point in the middle of a minute. */
function spanOf(seconds) {
  if (seconds.length < 2) return seconds.length ? [seconds[0] - 30, seconds[0] + 30] : [0, 1];
  const [first, last] = [seconds[0], seconds.at(-1)];
  const begin = Math.max(first, last - shownMs / 1000);
  return [begin, last + Math.max(2, (last - begin) * 0.03)];
}

/** The range of what is shown, with room above and below; a flat line in the middle. A wide band does not make the line flat. */
function rangeOf(signal, least, most) {
  if (!isNumber(least) || !isNumber(most)) return [0, 1];
  const { lower, upper } = signal.latest ?? {};
  const reach = Math.max(most - least, Math.abs(most) / 2);
  const low = isNumber(lower) ? Math.min(least, Math.max(lower, least - reach)) : least;
  const high = isNumber(upper) ? Math.max(most, Math.min(upper, most + reach)) : most;
  // Little moves are drawn little, and the marks of the axis differ in the three digits that are shown.
  const room = high > low ? Math.max((high - low) * 0.12, Math.abs(high) * 0.02) : Math.abs(high) * 0.2 || 1;
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}

function makeChart(group, signal) {
  const font = '11px system-ui, sans-serif';
  const axis = { font, stroke: () => colors.muted, ticks: { show: false } };
  const hidden = { auto: false, stroke: () => 'transparent', width: 0, points: { show: false } };
  const options = {
    width: Math.max(120, Math.floor(signal.holder.clientWidth)),
    height: HEIGHT,
    padding: [8, 6, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: group.key }, points: { size: 6 } },
    scales: {
      x: { range: (chart) => spanOf(chart.data[0]) },
      y: { range: (chart, low, high) => rangeOf(signal, low, high) },
    },
    axes: [
      { ...axis, size: 24, gap: 7, space: 70, grid: { show: false }, values: (chart, splits) => splits.map((at) => (shownMs > 300e3 && splits.length > 1 && splits[1] - splits[0] >= 60 ? clock(at * 1000).slice(0, 5) : clock(at * 1000))) },
      { ...axis, size: 54, gap: 4, space: 26, ...(unitOf(signal.name) === 'B' ? { incrs: POWERS } : {}), grid: { stroke: () => colors.grid, width: 1 }, values: (chart, splits) => splits.map((at) => inUnit(signal.name, at).replace(' %', '%')) },
    ],
    series: [
      {},
      hidden,
      hidden,
      { stroke: () => colors.expected, width: 1, dash: [4, 4], points: { show: false } },
      { stroke: () => colors.value, width: 1.6, points: { show: (chart) => chart.data[0].length < 4, size: 5, fill: () => colors.value } },
    ],
    bands: [{ series: [2, 1], fill: () => colors.band }],
    hooks: { drawClear: [(chart) => drawBandNow(chart, signal)], setCursor: [(chart) => readOut(chart, signal)] },
  };
  return new uPlot(options, [[], [], [], [], []], signal.holder);
}

/** Where no band is known, the present one, fainter. */
function drawBandNow(chart, signal) {
  const { lower, upper } = signal.latest ?? {};
  if (!isNumber(lower) || !isNumber(upper) || !chart.data[0].length) return;
  const first = signal.points[0].findIndex((value) => value !== null);
  const { left, top, width, height } = chart.bbox;
  const end = first < 0 ? left + width : Math.min(left + width, chart.valToPos(chart.data[0][first], 'x', true));
  const clamp = (at) => Math.min(top + height, Math.max(top, at));
  const [from, to] = [clamp(chart.valToPos(upper, 'y', true)), clamp(chart.valToPos(lower, 'y', true))];
  chart.ctx.fillStyle = colors.bandNow;
  if (end > left) chart.ctx.fillRect(left, from, end - left, to - from);
}

/** The values under the cursor, in place of the latest. */
function readOut(chart, signal) {
  const at = chart.cursor.idx;
  signal.hovered = at !== null && at !== undefined && chart.cursor.left >= 0;
  if (!signal.hovered) {
    setText(signal.usual, signal.text);
    return;
  }
  const [lower, upper, expected, value] = signal.points.map((points) => points[at]);
  const parts = [clock(chart.data[0][at] * 1000), isNumber(value) ? inUnit(signal.name, value) : 'missing'];
  if (isNumber(expected)) parts.push(`expected ${inUnit(signal.name, expected)}`);
  if (isNumber(lower) && isNumber(upper)) parts.push(`${number(lower)} – ${number(upper)}`);
  setText(signal.usual, parts.join(' · '));
}

readColors();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  readColors();
  for (const group of groups.values()) for (const { chart } of group.signals.values()) chart.redraw();
});
