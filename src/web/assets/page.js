// The page: asks the agent every two seconds, says how things are, and shows signals, incidents and plugins.

import { ask, bytes, clock, count, duration, el, isNumber, knowUnits, micros, moment, number, roughly, setText } from './format.js';
import { fetchIncidents, listIncidents, showIncidents } from './incidents.js';
import { showSignals, showSpan } from './signals.js';
import { groupsOf } from './status.js';

const EVERY_MS = 2000;
const byId = (id) => document.getElementById(id);
let answeredAt = 0;
let timer = 0;

const PLUGIN_TONES = { active: 'good', retrying: 'warn', blind: 'warn', held: 'bad', rejecting: 'bad', failed: 'bad', hung: 'bad' };
const KINDS = { input: 'inputs', processor: 'processors', output: 'outputs' };

/** What there is to say, the gravest first: `{ tone, text, more }`. */
function conditions(status, groups, incidents) {
  const found = [];
  const open = incidents.filter((incident) => incident.open);
  if (open.length) {
    const called = open.some((one) => one.changes.some((change) => change.state === 'notified'));
    found.push({ tone: called ? 'bad' : 'warn', text: `${count(open.length, 'incident')} open`, more: open[0].latest.message });
  }
  for (const [state, tone] of [['held', 'bad'], ['rejecting', 'bad'], ['failed', 'bad'], ['hung', 'bad'], ['blind', 'warn'], ['retrying', 'warn']]) {
    for (const [kind, name] of Object.entries(KINDS)) {
      const which = (status.plugins ?? []).filter((plugin) => plugin.kind === kind && plugin.state === state);
      if (which.length) found.push({ tone, text: `${name} ${state}: ${which.map(shortly).join(', ')}`, more: which[0].last_error?.message });
    }
  }
  const named = (list) => list.map((group) => [group.detector, group.name].filter(Boolean).join(' ')).join(', ');
  const blind = groups.filter((group) => group.state === 'blind');
  if (blind.length) found.push({ tone: 'warn', text: `blind: ${named(blind)}`, more: 'the signals do not arrive' });
  const learning = groups.filter((group) => group.state === 'learning');
  if (learning.length) {
    const waits = learning.map((group) => group.readyInMs).filter(isNumber);
    const when = waits.length ? `, ready in ${roughly(Math.max(...waits))}` : '';
    found.push({ tone: 'info', text: `learning${when}`, more: named(learning) });
  }
  const past = status.backfill ?? {};
  if (past.state === 'reading') {
    const share = Math.floor((100 * (past.at_ms - past.from_ms)) / Math.max(1, past.upto_ms - past.from_ms));
    found.push({ tone: 'info', text: `reading the past, ${share} %`, more: 'from the metrics backend; then the models know it' });
  } else if (past.state === 'waiting' || past.state === 'failed') {
    found.push({ tone: 'note', text: 'the past cannot be read now', more: past.reason });
  }
  const notes = (status.plugins ?? []).reduce((sum, plugin) => sum + Object.keys(plugin.notes ?? {}).length, 0);
  if (notes) found.push({ tone: 'note', text: `${count(notes, 'thing')} to mend`, more: 'see the notes of the plugins' });
  return found;
}

/** "loki 401": the alias, and the status code of its last error when there is one. */
function shortly(plugin) {
  const code = /\b[45]\d\d\b/.exec(plugin.last_error?.message ?? '');
  return [plugin.alias ?? plugin.name, code?.[0]].filter(Boolean).join(' ');
}

function showVerdict(status, groups, incidents) {
  const found = conditions(status, groups, incidents);
  const grave = found.filter((condition) => condition.tone !== 'note');
  const first = grave[0] ?? { tone: 'good', text: 'all quiet', more: watched(groups) };
  const rest = found.filter((condition) => condition !== first);
  byId('overview').dataset.tone = first.tone;
  setText(byId('verdict'), first.text);
  const lines = [first.more ? { more: first.more } : null, ...rest].filter(Boolean);
  const text = lines.map(({ text, more }) => [text, more].filter(Boolean).join(' – '));
  const list = byId('conditions');
  if (list.dataset.text !== text.join('\n')) {
    list.dataset.text = text.join('\n');
    list.replaceChildren(...text.map((line, at) => el('li', { 'data-tone': lines[at].tone }, line)));
  }
  document.title = `${first.text} · ${status.host ?? 'SentinelOps'}`;
}

function watched(groups) {
  const signals = groups.reduce((sum, group) => sum + group.signals.length, 0);
  const detectors = new Set(groups.map((group) => group.detector)).size;
  return signals ? `${count(detectors, 'detector')} ${detectors === 1 ? 'watches' : 'watch'} ${count(signals, 'signal')}` : '';
}

function showTotals(status) {
  const sum = (kind, field) => (status.plugins ?? []).filter((plugin) => plugin.kind === kind).reduce((total, plugin) => total + (plugin[field] ?? 0), 0);
  const dropped = (status.plugins ?? []).reduce((total, plugin) => total + drops(plugin), 0);
  const totals = [
    ['read', `${number(sum('input', 'delivered_rate'))} /s`],
    ['delivered', `${number(sum('output', 'delivered_rate'))} /s`],
    ['waiting', bytes(sum('output', 'queued_bytes') + sum('output', 'disk_bytes'))],
    ['dropped', number(dropped)],
  ];
  byId('totals').replaceChildren(...totals.map(([name, text]) => el('div', {}, el('dt', {}, name), el('dd', {}, text))));
}

const drops = (plugin) => Object.values(plugin.drops ?? {}).reduce((sum, events) => sum + events, 0);

function showPlugins(status) {
  const body = byId('plugins').tBodies[0];
  const selection = getSelection();
  if (!selection.isCollapsed && body.contains(selection.anchorNode)) return; // somebody copies an error
  body.replaceChildren(...(status.plugins ?? []).map((plugin) => row(plugin, status.now_ms)));
}

function row(plugin, nowMs) {
  const cell = (label, ...children) => el('td', { 'data-label': label }, ...children);
  const figure = (label, text, tone) => el('td', { class: 'number', 'data-label': label, 'data-tone': tone }, text);
  const name = el('th', { scope: 'row', 'data-label': 'Plugin' }, el('span', { class: 'kind' }, plugin.kind ?? ''), el('b', {}, plugin.alias ?? plugin.name ?? ''), plugin.alias && plugin.alias !== plugin.name ? el('span', { class: 'sub' }, ` ${plugin.name}`) : null);
  const lost = drops(plugin);
  const queued = plugin.queued ? `${number(plugin.queued)} · ${bytes((plugin.queued_bytes ?? 0) + (plugin.disk_bytes ?? 0))}` : '0';
  const notes = [];
  for (const [about, text] of Object.entries(plugin.notes ?? {})) notes.push(el('li', {}, el('b', {}, about), ` ${text}`));
  for (const [reason, events] of Object.entries(plugin.drops ?? {})) if (events) notes.push(el('li', {}, `${number(events)} dropped: ${String(reason).replaceAll('_', ' ')}`));
  if (plugin.restarts) notes.push(el('li', {}, `started again ${count(plugin.restarts, 'time')}`));
  if (plugin.last_error) {
    const ago = isNumber(nowMs) ? `${duration(nowMs - plugin.last_error.time_ms)} ago` : moment(plugin.last_error.time_ms);
    notes.push(el('li', { class: 'error' }, `${plugin.last_error.message} (${ago})`));
  }
  return el(
    'tr',
    { 'data-plugin': plugin.alias ?? plugin.name ?? '' },
    cell('State', el('span', { class: 'chip', 'data-tone': PLUGIN_TONES[plugin.state] ?? 'info' }, plugin.state ?? '?')),
    name,
    figure('In /s', number(plugin.received_rate)),
    figure('Out /s', number(plugin.delivered_rate)),
    figure('Bytes /s', bytes(plugin.bytes_rate)),
    figure('Queue', queued),
    figure('Dropped', number(lost), lost ? 'warn' : null),
    figure('Errors', number(plugin.errors ?? 0), plugin.errors ? 'warn' : null),
    figure('Call, avg / max', isNumber(plugin.call_avg_us) ? `${micros(plugin.call_avg_us)} / ${micros(plugin.call_max_us)}` : '–'),
    cell('Notes', notes.length ? el('ul', {}, ...notes) : ''),
  );
}

function showHead(status) {
  setText(byId('host'), status.host ?? '');
  setText(byId('version'), status.version ?? '–');
  setText(byId('uptime'), isNumber(status.started_ms) && isNumber(status.now_ms) ? duration(status.now_ms - status.started_ms) : '–');
  const { used, capacity } = status.memory ?? {};
  setText(byId('memory'), isNumber(used) ? `${bytes(used)}${capacity ? ` of ${bytes(capacity)}` : ''}` : '–');
  setText(byId('updated'), clock(Date.now()));
}

function showOffline() {
  byId('offline').hidden = false;
  byId('overview').dataset.tone = 'unknown';
  const since = answeredAt ? ` since ${clock(answeredAt)}; what is below is from then` : '';
  setText(byId('offline'), `The agent does not answer${since}.`);
  document.title = 'no answer · SentinelOps';
}

async function refresh() {
  clearTimeout(timer);
  let answer;
  try {
    const [status] = await Promise.all([ask('/api/status'), fetchIncidents().catch(() => false)]);
    answer = status;
  } catch {
    showOffline();
    clearTimeout(timer);
    timer = setTimeout(refresh, EVERY_MS);
    return;
  }
  clearTimeout(timer); // another one may have begun when the page was shown again
  timer = setTimeout(refresh, EVERY_MS);
  answeredAt = Date.now();
  byId('offline').hidden = true;
  show(answer);
}

function show(status) {
  const groups = groupsOf(status);
  for (const group of groups) knowUnits(group.signals);
  const incidents = listIncidents();
  showHead(status);
  showVerdict(status, groups, incidents);
  showTotals(status);
  showIncidents(byId('incidents'), incidents, status.now_ms ?? Date.now());
  byId('no-incidents').hidden = incidents.length > 0;
  showSignals(byId('signals'), groups);
  byId('no-signals').hidden = groups.length > 0;
  showPlugins(status);
}

byId('spans').addEventListener('click', (event) => {
  const minutes = Number(event.target.dataset?.minutes);
  if (!minutes) return;
  for (const button of byId('spans').children) button.setAttribute('aria-pressed', button === event.target);
  showSpan(minutes * 60e3);
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});
refresh();
