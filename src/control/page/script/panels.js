// Totals, cores, and the changes of health.

const FIGURES = [
  ['Requests/s', ({ requests_per_sec }) => [count(requests_per_sec), '']],
  ['Failures/s', ({ failures_per_sec }) => [count(failures_per_sec), ''], ({ failures_per_sec }) => failures_per_sec > 0],
  ['In flight', ({ in_flight }) => [count(in_flight), '']],
  ['Connections', ({ connections, most_connections, waiting_clients }) => [count(connections), waiting_clients > 0 ? `of ${count(most_connections)}: clients wait` : ''], ({ waiting_clients }) => waiting_clients > 0],
  ['Latency p50', ({ p50_ms }) => latency(p50_ms)],
  ['Latency p99', ({ p99_ms }) => latency(p99_ms)],
];
const FULL_PERCENT = 90;

class Panels {
  constructor() {
    this.latest = null;
    this.values = FIGURES.map(([name]) => {
      const value = element('dd');
      byId('figures').append(element('div', {}, element('dt', {}, name), value));
      return value;
    });
  }

  show(board) {
    FIGURES.forEach(([, figure, isBad], at) => {
      writeFigure(this.values[at], figure(board.totals));
      this.values[at].parentNode.classList.toggle('bad', Boolean(isBad?.(board.totals)));
    });
    write(byId('edition'), `${board.version}, revision ${board.revision}`);
    byId('leaving').hidden = board.phase !== 'draining';
    this.showCores(board.workers);
    this.showTransitions(board.transitions, board.time);
  }

  showCores(workers) {
    const rows = byId('cores');
    while (rows.rows.length > workers.length) rows.deleteRow(-1);
    while (rows.rows.length < workers.length) rows.append(this.coreRow());
    workers.forEach((worker, at) => {
      const [core, busy, rate, running, connections, lag] = rows.rows[at].cells;
      const share = worker.busy_percent ?? 0;
      write(core, String(worker.worker));
      const [bar, number] = busy.firstChild.children;
      bar.value = share;
      write(number, `${Math.round(share)} %`);
      busy.firstChild.classList.toggle('full', share >= FULL_PERCENT);
      write(rate, count(worker.requests_per_sec));
      write(running, count(worker.in_flight));
      write(connections, count(worker.connections));
      write(lag, latency(worker.loop_lag_ms).join(' ').trim());
    });
  }

  coreRow() {
    const busy = element('div', { class: 'busy' }, element('progress', { max: '100', 'aria-label': 'Busy' }), element('span'));
    return element('tr', {}, element('td'), element('td', {}, busy), ...Array.from({ length: 4 }, () => element('td')));
  }

  showTransitions(transitions, now) {
    const newest = transitions[0] ? JSON.stringify(transitions[0]) : '';
    byId('transitions-none').hidden = transitions.length > 0;
    if (newest === this.latest) return;
    if (this.latest !== null && transitions[0]) {
      const { pool, backend, to, reason } = transitions[0];
      write(byId('news'), `${backend} of ${pool} is ${to}: ${reason}`);
    }
    this.latest = newest;
    byId('transitions').replaceChildren(...transitions.map((transition) => this.transition(transition, now)));
  }

  transition({ time, pool, backend, from, to, reason }, now) {
    const when = element('time', { datetime: new Date(time * 1000).toISOString() }, timeOfDay(time, now));
    const what = element('span', { class: 'what' }, element('code', {}, backend), stateBadge(to));
    const why = element('span', { class: 'who quiet' }, `was ${from}, in ${pool}: ${reason.replaceAll('_', ' ')}`);
    return element('li', {}, when, what, why);
  }
}
