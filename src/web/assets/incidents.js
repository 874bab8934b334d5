// Incidents: the state changes of one key are one incident. Open ones are shown whole, past ones folded.

import { ask, clock, count, duration, el, inUnit, isNumber, moment, number } from './format.js';

const SHOWN = 50; // incidents
const BARS = 8; // contributions of one
const OVERLAP_MS = 600e3; // event time may arrive late
const TONES = { notified: 'bad', confirmed: 'warn', detected: 'warn', updated: 'warn', recovering: 'info', resolved: 'quiet', expired: 'quiet' };
const GRAVITY = { critical: 'bad', warning: 'warn', info: 'info' };
const changes = new Map(); // key, state and time -> change
let asked = 0; // newest time known
let drawn = '';

/** Fetches what is new; true when there was something. */
export async function fetchIncidents() {
  const since = asked ? `since_ms=${asked - OVERLAP_MS}&` : '';
  const answer = await ask(`/api/incidents?${since}limit=500`);
  const before = changes.size;
  for (const change of answer.incidents ?? []) {
    changes.set(`${change.key}\n${change.state}\n${change.time_ms}`, change);
    asked = Math.max(asked, change.time_ms);
  }
  return changes.size !== before;
}

/** All incidents, newest first: `{ key, latest, peak, changes, open }`. */
export function listIncidents() {
  const byKey = new Map();
  for (const change of changes.values()) {
    if (!byKey.has(change.key)) byKey.set(change.key, []);
    byKey.get(change.key).push(change);
  }
  const rank = ['detected', 'confirmed', 'notified', 'updated', 'recovering', 'resolved', 'accepted', 'expired'];
  const incidents = [...byKey].map(([key, list]) => {
    list.sort((a, b) => b.time_ms - a.time_ms || rank.indexOf(b.state) - rank.indexOf(a.state));
    const explained = list.filter((change) => change.contributions?.length);
    const peak = (explained.length ? explained : list).reduce((a, b) => ((b.score ?? 0) > (a.score ?? 0) ? b : a));
    return { key, latest: list[0], peak, changes: list, open: !['resolved', 'accepted', 'expired'].includes(list[0].state) };
  });
  return incidents.sort((a, b) => b.open - a.open || b.latest.time_ms - a.latest.time_ms).slice(0, SHOWN);
}

/** Draws them, when something has changed; the times of open ones always. */
export function showIncidents(root, incidents, nowMs) {
  const signature = incidents.map((one) => `${one.key}:${one.changes.length}:${one.open}`).join('\n');
  if (signature !== drawn) {
    drawn = signature;
    const unfolded = new Set([...root.querySelectorAll('details[open][data-id]')].map((details) => details.dataset.id));
    root.replaceChildren(...incidents.map((incident) => card(incident)));
    for (const details of root.querySelectorAll('details[data-id]')) details.open ||= unfolded.has(details.dataset.id);
  }
  for (const lasted of root.querySelectorAll('[data-since]')) {
    lasted.textContent = `for ${duration(nowMs - Number(lasted.dataset.since))}`;
  }
}

function card({ key, latest, peak, changes: list, open }) {
  const called = list.some((change) => change.state === 'notified');
  const tone = TONES[latest.state === 'updated' && called ? 'notified' : latest.state] ?? 'info';
  const attributes = { class: 'card incident', 'data-key': key, 'data-state': latest.state, 'data-tone': tone, 'data-testid': 'incident' };
  const badge = el('span', { class: 'chip', 'data-tone': tone }, latest.state);
  const severity = latest.severity ? [el('span', { class: 'chip', 'data-tone': GRAVITY[latest.severity] ?? 'info', 'data-testid': 'severity' }, latest.severity)] : [];
  const title = el('h3', {}, latest.message);
  const started = latest.started_ms ?? list.at(-1).time_ms;
  const lasted = open ? el('span', { 'data-since': started }) : el('span', {}, `lasted ${duration(latest.time_ms - started)}`);
  const where = [latest.detector, latest.group].filter(Boolean).join(' ');
  const meta = el('p', { class: 'meta' }, `${where} · began ${moment(started)} · `, lasted, ` · highest score ${number(Math.max(...list.map((change) => change.score ?? 0)))}`);
  if (open) return el('article', attributes, el('div', { class: 'incident-head' }, badge, ...severity, title), meta, body(key, latest, peak, list));
  const summary = el('summary', {}, el('div', { class: 'incident-head' }, badge, ...severity, title), meta);
  return el('article', attributes, el('details', { 'data-id': key }, summary, body(key, latest, peak, list)));
}

/** What an end leaves out, its beginning may know: the newest change that says so. */
const known = (list, field) => list.map((change) => change[field]).find((value) => value !== undefined && value !== null && value !== '' && value.length !== 0);

function body(key, latest, peak, list) {
  const parts = el('div', { class: 'incident-body' });
  parts.append(...hit(list), timeline(latest, list));
  const shares = peak.contributions ?? [];
  if (shares.length) {
    const rest = shares.slice(BARS).reduce((sum, one) => sum + one.share, 0);
    parts.append(
      el('h4', {}, `What raised the score (${clock(peak.time_ms)})`),
      el('ul', { class: 'bars' }, ...shares.slice(0, BARS).map(bar)),
    );
    if (rest > 0) parts.append(el('p', { class: 'meta' }, `and ${count(shares.length - BARS, 'more signal')} with ${Math.round(rest * 100)} %`));
  } else if (!key.startsWith('digest/')) {
    parts.append(el('p', {}, 'No single signal left its usual range: it is the combination of them.'));
  }
  const call = list.find((change) => change.state === 'notified');
  const held = list.find((change) => change.joined || change.held);
  const reason = (call ?? held ?? peak).reason || latest.reason;
  if (reason) {
    const asked = call ? 'Why you were called: ' : 'Why nobody was called: ';
    parts.append(el('p', { class: 'reason' }, el('strong', {}, asked), reason));
  }
  if (peak.models?.length) {
    const chips = peak.models.map(([model, score]) => el('li', { 'data-tone': score >= 1 ? 'bad' : 'good' }, `${String(model).replaceAll('_', ' ')} `, el('b', {}, number(score))));
    parts.append(el('div', { class: 'votes' }, el('span', {}, 'Models, boundary 1.0:'), el('ul', {}, ...chips)));
  }
  const suspects = known(list, 'suspects');
  if (suspects) {
    const rows = suspects.map((one) => el('li', {}, el('b', {}, one.feature), `, moved ${number(one.change)} times as far as it usually does`));
    parts.append(el('h4', {}, 'Suspects, ranked by how much they changed'), el('ol', { class: 'suspects', 'data-testid': 'suspects' }, ...rows));
  }
  parts.append(...next(list));
  const folds = el('div', { class: 'folds' });
  if (latest.normal?.length) {
    folds.append(fold(`${key} normal`, `${count(latest.normal.length, 'signal')} within their usual range`, el('p', {}, latest.normal.join(', '))));
  }
  const steps = list.map((change) => el('li', {}, el('time', {}, moment(change.time_ms)), el('span', { class: 'chip', 'data-tone': TONES[change.state] ?? 'info' }, change.state), el('span', { class: 'score' }, number(change.score)), el('span', {}, change.reason || change.message)));
  folds.append(fold(`${key} steps`, count(list.length, 'state change'), el('ol', { class: 'steps' }, ...steps)));
  parts.append(folds);
  return parts;
}

/** What is hit, what is usual, the largest parts, and a line that stands for them. */
function hit(list) {
  const shown = [];
  const { total } = list[0]; // not that of an end from which it came back
  const [what, usual, trend] = [known(list, 'hit'), known(list, 'usual'), list[0].trend];
  const words = [
    total ? `${total.hit}, in ${duration(total.lasted_ms)} all told` : what,
    usual && `usual: ${usual}`,
    !total && trend && { rising: 'still rising', steady: 'steady', recovering: 'recovering' }[trend],
  ].filter(Boolean);
  if (words.length) shown.push(el('p', { class: 'hit', 'data-testid': 'hit' }, el('b', {}, words[0]), words.slice(1).map((word) => ` · ${word}`).join('')));
  const breakdown = known(list, 'breakdown');
  if (breakdown) {
    const part = (one) => {
      const fill = el('span', { class: 'fill' });
      fill.style.width = `${Math.min(100, 100 * one.share)}%`;
      return el('li', {}, el('span', { class: 'dimension' }, one.dimension), el('span', { class: 'of' }, one.value), el('span', { class: 'share' }, el('span', { class: 'track' }, fill), el('b', {}, `${Math.floor(100 * one.share)} %`)), el('span', { class: 'figures' }, `${one.count.toLocaleString('en')}`));
    };
    shown.push(el('h4', {}, 'Where it is'), el('ul', { class: 'parts', 'data-testid': 'breakdown' }, ...breakdown.map(part)));
  }
  const sample = known(list, 'sample');
  if (sample) shown.push(el('h4', {}, 'One of the lines'), el('pre', { class: 'sample' }, sample));
  return shown;
}

const SVG = 'http://www.w3.org/2000/svg';

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Onset, changes on the host and states on one line of time, with the list of them below. */
function timeline(latest, list) {
  const started = latest.started_ms ?? list.at(-1).time_ms;
  const seen = new Map();
  for (const change of list.flatMap((one) => one.changes ?? [])) seen.set(`${change.time_ms} ${change.text}`, change);
  const marks = [
    { time_ms: started, word: 'onset', kind: 'onset' },
    ...[...seen.values()].map((one) => ({ time_ms: one.time_ms, word: one.text, kind: 'change' })),
    ...[...list].reverse().map((one) => ({ time_ms: one.time_ms, word: one.state, kind: 'state', tone: TONES[one.state] ?? 'info' })),
  ].sort((a, b) => a.time_ms - b.time_ms);
  const [first, last] = [marks[0].time_ms, marks.at(-1).time_ms];
  const place = (ms) => 10 + (980 * (ms - first)) / (last - first || 1);
  const drawing = svg('svg', { viewBox: '0 0 1000 40', preserveAspectRatio: 'none', class: 'line', 'aria-hidden': 'true' });
  drawing.append(svg('line', { x1: 0, x2: 1000, y1: 20, y2: 20, class: 'axis' }));
  drawing.append(svg('line', { x1: place(started), x2: place(latest.time_ms), y1: 20, y2: 20, class: 'span' }));
  for (const mark of marks) {
    const at = place(mark.time_ms);
    const [from, to] = { onset: [4, 36], change: [4, 20], state: [20, 36] }[mark.kind];
    const line = svg('line', { x1: at, x2: at, y1: from, y2: to, class: mark.kind });
    if (mark.tone) line.setAttribute('data-tone', mark.tone);
    line.append(svg('title', {}, `${clock(mark.time_ms)} ${mark.word}`));
    drawing.append(line);
  }
  const item = (mark) => el('li', { class: mark.kind, 'data-tone': mark.tone }, el('time', {}, moment(mark.time_ms)), ' ', el('span', {}, mark.word));
  return el('figure', { class: 'timeline', 'data-testid': 'timeline' }, el('figcaption', {}, el('h4', {}, 'How it went')), drawing, el('ol', {}, ...marks.map(item)));
}

/** The last one like it, how much was seen, and commands to go on with. */
function next(list) {
  const shown = [];
  const similar = known(list, 'similar');
  if (similar) shown.push(el('p', { class: 'meta', 'data-testid': 'similar' }, `The last similar incident: ${moment(similar.started_ms)}, ${similar.ended} after ${duration(similar.lasted_ms)}: ${similar.hit} (${similar.key})`));
  const coverage = known(list, 'coverage');
  if (coverage) {
    const tier = known(list, 'tier');
    shown.push(el('p', { class: 'meta' }, `Seen: ${coverage.known} of ${coverage.signals} signals known, trained on ${coverage.trained_frames.toLocaleString('en')} frames${tier ? `, tier ${tier}` : ''}`));
  }
  const commands = known(list, 'next');
  if (commands) shown.push(el('h4', {}, 'What to do next'), el('pre', { class: 'commands', 'data-testid': 'next' }, commands.join('\n')));
  return shown;
}

function fold(id, title, content) {
  return el('details', { 'data-id': id }, el('summary', {}, title), content);
}

/** One contribution: its share as a bar, and its value on the scale of its usual range. */
function bar(one) {
  const percent = Math.round((one.share ?? 0) * 100);
  const fill = el('span', { class: 'fill' });
  fill.style.width = `${Math.min(100, percent)}%`;
  const usual = isNumber(one.lower) && isNumber(one.upper) ? `, usually ${inUnit(one.feature, one.lower)} – ${inUnit(one.feature, one.upper)}` : '';
  const arrow = one.direction === 'down' ? '↓' : '↑';
  return el(
    'li',
    { 'data-feature': one.feature, 'data-direction': one.direction },
    el('span', { class: 'feature' }, el('span', { class: 'arrow', title: one.direction === 'down' ? 'below what was expected' : 'above what was expected' }, arrow), ` ${one.feature}`),
    el('span', { class: 'share' }, el('span', { class: 'track' }, fill), el('b', {}, `${percent} %`)),
    scale(one),
    el('span', { class: 'figures' }, el('b', {}, inUnit(one.feature, one.value)), `, expected ${inUnit(one.feature, one.expected)}${usual}`),
  );
}

function scale(one) {
  const element = el('span', { class: 'scale', 'aria-hidden': 'true' });
  const marks = [one.lower, one.upper, one.expected, one.value].filter(isNumber);
  if (marks.length < 4) return element;
  const [low, high] = [Math.min(...marks), Math.max(...marks)];
  const place = (value) => 4 + (92 * (value - low)) / (high - low || 1);
  const mark = (name, from, to) => {
    const part = el('span', { class: name });
    part.style.left = `${place(from)}%`;
    if (to !== undefined) part.style.width = `${Math.max(2, place(to) - place(from))}%`;
    element.append(part);
  };
  mark('range', one.lower, one.upper);
  mark('tick', one.expected);
  mark('dot', one.value);
  return element;
}
