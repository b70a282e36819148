// Elements, and figures as people read them. Text only ever becomes text: names from the configuration are never markup.

const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings among them become text. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawing(name, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Writes only what differs, so that a second without news costs no layout. */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

const STATES = ['healthy', 'unhealthy', 'ejected', 'draining'];
const known = (state) => (STATES.includes(state) ? state : 'unknown');

/** A state as shape, word and colour. */
function stateBadge(state) {
  const shape = drawing('use', { href: `#glyph-${known(state)}` });
  const badge = element('span', { class: 'state', 'data-word': known(state) });
  badge.append(drawing('svg', { 'aria-hidden': 'true' }, shape), element('span', {}, state));
  return badge;
}

function writeState(badge, state) {
  mark(badge, 'data-word', known(state));
  mark(badge.querySelector('use'), 'href', `#glyph-${known(state)}`);
  write(badge.lastChild, state);
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const NOTHING = '–';

function count(value) {
  if (value == null) return NOTHING;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`;
  return value < 10 && value % 1 !== 0 ? value.toFixed(1) : whole.format(value);
}

/** A time in milliseconds as number and unit. */
function latency(ms) {
  if (ms == null) return [NOTHING, ''];
  if (ms === 0) return ['0', ''];
  if (ms < 9.95) return [ms.toFixed(ms < 0.995 ? 2 : 1), 'ms'];
  if (ms < 999.5) return [ms.toFixed(0), 'ms'];
  return [(ms / 1000).toFixed(ms < 9950 ? 2 : 1), 's'];
}

function percent(value) {
  if (value == null) return [NOTHING, ''];
  return [value === 0 || value >= 10 ? value.toFixed(0) : value.toFixed(value < 0.1 ? 2 : 1), '%'];
}

/** How long something lasts, in its two largest units. */
function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  const [large, small] = s < 86400 ? [[3600, 'h'], [60, 'min']] : [[86400, 'd'], [3600, 'h']];
  const rest = Math.floor((s % large[0]) / small[0]);
  const begin = `${Math.floor(s / large[0])} ${large[1]}`;
  return rest === 0 ? begin : `${begin} ${rest} ${small[1]}`;
}

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

/** A time of day, with the date unless it is `now`'s. */
function timeOfDay(time, now) {
  const then = new Date(time * 1000);
  const today = then.toDateString() === new Date(now * 1000).toDateString();
  return today ? clock.format(then) : `${date.format(then)} ${clock.format(then)}`;
}

/** Writes a number with its unit in small. */
function writeFigure(node, [number, unit]) {
  if (!node.firstElementChild) node.replaceChildren('', element('small'));
  if (!node.firstChild || node.firstChild.nodeType !== Node.TEXT_NODE) node.prepend('');
  if (node.firstChild.data !== number) node.firstChild.data = number;
  write(node.lastChild, unit);
}
