// The cache: how full it is, what it saves, what it serves stale, and its largest and most used entries.

/** To find these entries palantir looks at all of them. */
const ENTRIES_EVERY_MS = 10000;
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes as number and unit. */
function size(bytes) {
  if (bytes == null) return [NOTHING, ''];
  const unit = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const value = bytes / 1024 ** unit;
  return [unit > 0 && value < 10 ? value.toFixed(1) : value.toFixed(0), UNITS[unit]];
}

const CACHE_FIGURES = [
  ['Hits', ({ hit_percent }) => percent(hit_percent)],
  ['In use', ({ used_bytes, max_bytes }) => [size(used_bytes).join(' '), `of ${size(max_bytes).join(' ')}`]],
  ['Entries', ({ entries }) => [count(entries), '']],
  ['Saved requests/s', ({ answered_per_sec }) => [count(answered_per_sec), '']],
  ['Saved bytes/s', ({ served_bytes_per_sec }) => size(served_bytes_per_sec)],
  ['Stale/s', ({ stale_per_sec }) => [count(stale_per_sec), ''], ({ stale_per_sec }) => stale_per_sec > 0],
];

class CachePanel {
  constructor() {
    this.asked = -Infinity;
    this.values = CACHE_FIGURES.map(([name]) => {
      const value = element('dd');
      byId('cache-figures').append(element('div', {}, element('dt', {}, name), value));
      return value;
    });
  }

  show({ cache, time }) {
    byId('cache').hidden = !cache;
    if (!cache) return;
    CACHE_FIGURES.forEach(([, figure, isBad], at) => {
      writeFigure(this.values[at], figure(cache));
      this.values[at].parentNode.classList.toggle('bad', Boolean(isBad?.(cache)));
    });
    const stale = byId('cache-stale');
    stale.hidden = cache.stale_since == null;
    if (!stale.hidden) write(stale, `Stale responses have been served for ${duration(time - cache.stale_since)}.`);
    this.look();
  }

  /** Asks for the entries now and then. Without them the figures stay. */
  async look() {
    if (performance.now() - this.asked < ENTRIES_EVERY_MS) return;
    this.asked = performance.now();
    const { largest = [], most_used = [] } = await ask('GET', 'cache').catch(() => ({}));
    const known = new Set();
    const entries = [...largest.slice(0, 5), ...most_used.slice(0, 5)].filter((entry) => {
      const name = JSON.stringify([entry.zone, entry.url, entry.key_fields, entry.variant]);
      return !known.has(name) && known.add(name);
    });
    byId('cache-entries').replaceChildren(...entries.map((entry) => this.entry(entry)));
  }

  entry({ url, bytes, age, state }) {
    const cells = [element('code', {}, url), size(bytes).join(' '), duration(age), state];
    return element('tr', {}, ...cells.map((cell) => element('td', {}, cell)));
  }
}
