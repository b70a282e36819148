// Every backend as a cell, grouped by pool. Cells stay the same elements from second to second, so that focus stays too.

const SPARK_SECS = 60;

class Backends {
  constructor({ onDrain, onWeight }) {
    this.onDrain = onDrain;
    this.onWeight = onWeight;
    this.pools = new Map();
    this.onlyTroubled = false;
    byId('find').addEventListener('input', () => this.filter());
    byId('troubled').addEventListener('click', () => {
      this.onlyTroubled = !this.onlyTroubled;
      mark(byId('troubled'), 'aria-pressed', String(this.onlyTroubled));
      this.filter();
    });
  }

  show({ pools, time }) {
    const names = new Set(pools.map(({ name }) => name));
    for (const [name, pool] of this.pools) {
      if (names.has(name)) continue;
      pool.section.remove();
      this.pools.delete(name);
    }
    if (this.pools.size === 0) byId('pools').replaceChildren();
    for (const pool of pools) this.showPool(pool, time);
    const all = pools.flatMap(({ backends }) => backends);
    this.healthy = all.filter(({ state }) => state === 'healthy').length;
    this.total = all.length;
    write(byId('backends-count'), `${this.healthy} of ${this.total} healthy`);
    write(byId('troubled'), `Not healthy (${this.total - this.healthy})`);
    this.filter();
  }

  showPool(pool, time) {
    const view = this.pools.get(pool.name) ?? this.addPool(pool.name);
    const healthy = pool.backends.filter(({ state }) => state === 'healthy').length;
    const sum = (key) => pool.backends.reduce((total, backend) => total + (backend[key] ?? 0), 0);
    write(view.balance, pool.algorithm.replaceAll('_', ' '));
    const panic = pool.panics ? ': panic, all take requests' : '';
    write(view.ready, `${healthy} of ${pool.backends.length} healthy${panic}`);
    view.ready.classList.toggle('short', healthy === 0 || pool.panics);
    const waiting = pool.waiting > 0 ? `, ${count(pool.waiting)} waiting` : '';
    write(view.load, `${count(sum('requests_per_sec'))} req/s, ${count(sum('in_flight'))} in flight${waiting}`);
    const serving = new Set(pool.backends.filter(({ state }) => state === 'healthy').map(({ address }) => address));
    const seen = new Set();
    for (const backend of pool.backends) {
      seen.add(backend.label);
      const cell = view.cells.get(backend.label) ?? this.addCell(view, pool.name, backend.label);
      cell.show(backend, time, serving);
    }
    for (const [label, cell] of view.cells) {
      if (seen.has(label)) continue;
      cell.item.remove();
      view.cells.delete(label);
    }
  }

  addPool(name) {
    const view = { cells: new Map(), ready: element('p', { class: 'quiet' }), balance: element('p', { class: 'quiet' }), load: element('p', { class: 'quiet' }) };
    view.list = element('ul', { class: 'cells' });
    const heading = element('header', {}, element('h3', {}, name), view.ready, view.balance, view.load);
    view.section = element('section', { class: 'pool', 'aria-label': `Pool ${name}` }, heading, view.list);
    byId('pools').append(view.section);
    this.pools.set(name, view);
    return view;
  }

  addCell(view, pool, label) {
    const cell = new Cell(pool, label, this);
    view.cells.set(label, cell);
    view.list.append(cell.item);
    return cell;
  }

  filter() {
    const wanted = byId('find').value.trim().toLowerCase();
    let found = 0;
    for (const [name, view] of this.pools) {
      let shown = 0;
      for (const [label, { item }] of view.cells) {
        const fits = `${name} ${label}`.toLowerCase().includes(wanted) && !(this.onlyTroubled && item.dataset.state === 'healthy');
        item.hidden = !fits;
        shown += fits;
      }
      view.section.hidden = shown === 0;
      found += shown;
    }
    byId('none-found').hidden = found > 0;
  }
}

/** One backend. */
class Cell {
  constructor(pool, label, { onDrain, onWeight }) {
    this.rates = [];
    this.badge = stateBadge('unknown');
    this.since = element('span', { class: 'quiet' });
    this.spark = sparkline();
    this.failure = element('p', { class: 'failure quiet' });
    this.weigh = element('button', { type: 'button' });
    this.drain = element('button', { type: 'button' });
    this.weigh.addEventListener('click', () => onWeight(pool, this.backend));
    this.drain.addEventListener('click', () => onDrain(pool, this.backend, this.isLast));
    const numbers = element('dl', { class: 'numbers' });
    this.figures = ['Req/s', 'In flight', 'Errors', 'p50', 'p99', 'Failed'].map((name) => {
      const value = element('dd');
      numbers.append(element('div', {}, element('dt', {}, name), value));
      return value;
    });
    this.item = element('li', { class: 'cell', 'data-backend': label },
      element('div', { class: 'top' }, this.badge, this.since),
      element('h4', {}, label), this.spark.canvas, numbers, this.failure,
      element('div', { class: 'acts' }, this.weigh, this.drain));
  }

  /** `serving` are the addresses, as written, of the pool's healthy backends: a name may stand for several. */
  show(backend, now, serving) {
    this.backend = backend;
    this.isLast = serving.size === 1 && serving.has(backend.address);
    this.rates = [...this.rates, backend.requests_per_sec ?? 0].slice(-SPARK_SECS);
    mark(this.item, 'data-state', backend.state);
    writeState(this.badge, backend.state);
    write(this.since, backend.since == null ? '' : `for ${duration(now - backend.since)}`);
    this.spark.draw(this.rates);
    const [rate, running, errors, p50, p99, failed] = this.figures;
    writeFigure(rate, [count(backend.requests_per_sec), '']);
    writeFigure(running, [count(backend.in_flight), '']);
    writeFigure(errors, percent(backend.error_percent));
    writeFigure(p50, latency(backend.p50_ms));
    writeFigure(p99, latency(backend.p99_ms));
    writeFigure(failed, [count(backend.failed), '']);
    errors.parentNode.classList.toggle('bad', backend.error_percent >= 1);
    this.showFailure(backend.last_failure, now);
    this.showActions(backend);
  }

  showFailure(last, now) {
    this.failure.hidden = !last;
    if (last) write(this.failure, `Last failure ${duration(now - last.time)} ago: ${last.reason.replaceAll('_', ' ')}`);
  }

  showActions({ label, weight, state }) {
    const drained = state === 'draining';
    write(this.weigh, `Weight ${weight}`);
    mark(this.weigh, 'aria-label', `Weight ${weight} of ${label}: change`);
    write(this.drain, drained ? 'Undrain' : 'Drain');
    mark(this.drain, 'aria-label', `${drained ? 'Undrain' : 'Drain'} ${label}`);
  }
}
