// Puts it all together: figures come in, everything that shows them is told.

const LINK_WORDS = { live: 'live', lost: 'reconnecting', closed: 'a token is needed' };

class Page {
  constructor() {
    this.history = [];
    this.board = null;
    this.lastNews = null;
    this.feed = new Feed({ onEvent: (name, value) => this.take(name, value), onLink: (state, refusal) => this.link(state, refusal) });
    this.actions = new Actions(this.feed);
    this.backends = new Backends({
      onDrain: (...chosen) => this.actions.drain(...chosen),
      onWeight: (...chosen) => this.actions.weigh(...chosen),
    });
    this.panels = new Panels();
    this.cache = new CachePanel();
    this.charts = [
      new Chart(byId('traffic'), { title: 'Traffic', format: count, floor: 10, series: [
        { key: 'requests_per_sec', label: 'requests/s', area: true }, { key: 'failures_per_sec', label: 'failures/s' }] }),
      new Chart(byId('latency'), { title: 'Latency', format: (ms) => latency(ms).join(' ').trim(), floor: 1, series: [
        { key: 'p99_ms', label: 'p99', area: true }, { key: 'p50_ms', label: 'p50' }] }),
    ];
    document.addEventListener('visibilitychange', () => this.draw());
    document.addEventListener('keydown', (event) => {
      if (event.key !== '/' || event.target.closest('input, dialog')) return;
      event.preventDefault();
      byId('find').focus();
    });
  }

  take(name, value) {
    if (name === 'history') this.takeHistory(value);
    if (name !== 'board') return;
    if (this.board && this.board.version !== value.version) say(`palantir is now version ${value.version}`);
    this.board = value;
    this.lastNews = new Date();
    this.remember([{ time: value.time, ...value.totals }]);
    this.draw();
  }

  /** A process that has just started knows less than this page does: what is older stays. */
  takeHistory(points) {
    const first = points[0]?.time ?? Infinity;
    this.history = this.history.filter(({ time }) => time < first);
    this.remember(points);
  }

  remember(points) {
    const last = this.history.at(-1)?.time ?? -Infinity;
    const all = [...this.history, ...points.filter(({ time }) => time > last)];
    const end = all.at(-1)?.time ?? 0;
    this.history = all.filter(({ time }) => time > end - WINDOW_SECS);
  }

  draw() {
    if (!this.board) return;
    const down = this.board.pools.flatMap(({ backends }) => backends).filter(({ state }) => state !== 'healthy').length;
    document.title = down > 0 ? `(${down}) palantir` : 'palantir';
    if (document.hidden) return;
    this.panels.show(this.board);
    this.cache.show(this.board);
    this.backends.show(this.board);
    for (const chart of this.charts) chart.show(this.history);
  }

  link(state, refusal) {
    mark(byId('link'), 'data-state', state);
    write(byId('link-text'), LINK_WORDS[state]);
    document.body.classList.toggle('stale', state !== 'live' && this.board !== null);
    const stale = byId('stale');
    stale.hidden = state === 'live' || this.lastNews === null;
    if (!stale.hidden) write(stale, `No news since ${clock.format(this.lastNews)}: what stands below is how it was then.`);
    if (state === 'closed') this.actions.askForToken(`palantir says: ${refusal.message}`);
  }
}

new Page().feed.run();
