// Charts of the last minutes, drawn as SVG. A second without figures is a gap, not a line across it.

const WINDOW_SECS = 300;
const GAP_SECS = 3;
const MARGIN = { top: 10, right: 6, bottom: 20, left: 52 };

const ROUND = [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10];

/** The next round number at or above the value, whose half is round too. */
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ROUND.map((step) => step * power).find((step) => step >= value * 0.9999);
}

/** Lines of `series` over the history. Pointer or arrow keys read off one second. */
class Chart {
  constructor(figure, { title, series, format, floor }) {
    this.series = series;
    this.format = format;
    this.floor = floor;
    this.points = [];
    this.chosen = null;
    this.reading = element('span', { class: 'keys' });
    const caption = element('figcaption', {}, this.reading);
    const heading = element('h2', {}, title);
    heading.id = `${figure.id}-title`;
    this.canvas = drawing('svg', { role: 'img', tabindex: '0', 'aria-labelledby': heading.id });
    figure.append(element('div', { class: 'head' }, heading, caption), this.canvas);
    this.values = series.map(({ key, label }) => {
      const value = element('b');
      const sample = drawing('svg', { viewBox: '0 0 20 8', 'aria-hidden': 'true' }, drawing('path', { class: `line ${key}`, d: 'M1 4H19' }));
      this.reading.append(element('span', {}, sample, `${label} `, value));
      return value;
    });
    this.when = element('span');
    this.reading.append(this.when);
    this.canvas.addEventListener('pointermove', (event) => this.chooseAt(event.offsetX));
    this.canvas.addEventListener('pointerleave', () => this.choose(null));
    this.canvas.addEventListener('blur', () => this.choose(null));
    this.canvas.addEventListener('keydown', (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  show(points) {
    this.points = points;
    this.draw();
  }

  key(event) {
    const last = this.points.length - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === 'Escape') this.choose(null);
    if (step === undefined || last < 0) return;
    event.preventDefault();
    const from = this.points.findIndex((point) => point.time === this.chosen);
    this.choose(this.points[Math.min(last, Math.max(0, (from < 0 ? last : from) + step))].time);
  }

  chooseAt(x) {
    if (this.points.length === 0 || !this.scale) return;
    const distance = (point) => Math.abs(this.scale.x(point.time) - x);
    this.choose(this.points.reduce((best, point) => (distance(point) < distance(best) ? point : best)).time);
  }

  choose(time) {
    this.chosen = time;
    this.draw();
  }

  draw() {
    const { width, height } = this.canvas.getBoundingClientRect();
    if (width === 0) return;
    const now = this.points.at(-1)?.time ?? Date.now() / 1000;
    const values = this.points.flatMap((point) => this.series.map(({ key }) => point[key] ?? 0));
    const top = roundUp(Math.max(this.floor, ...values));
    const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
    this.scale = {
      x: (time) => right - ((now - time) / WINDOW_SECS) * (right - MARGIN.left),
      y: (value) => bottom - (value / top) * (bottom - MARGIN.top),
      bottom,
    };
    const marks = [...this.grid(top, right, now), ...this.series.flatMap((one) => this.lines(one))];
    this.canvas.replaceChildren(...marks, ...this.cursor());
    this.read(now);
  }

  grid(top, right, now) {
    const { x, y, bottom } = this.scale;
    const levels = [0, 0.5, 1].flatMap((share) => [
      drawing('path', { class: 'grid', d: `M${MARGIN.left} ${y(top * share)}H${right}` }),
      drawing('text', { x: MARGIN.left - 7, y: y(top * share) + 4, 'text-anchor': 'end' }, this.format(top * share)),
    ]);
    const times = [0, 1, 2, 3, 4].map((minutes) => {
      const anchor = minutes === 0 ? 'end' : 'middle';
      const label = minutes === 0 ? 'now' : `−${minutes} min`;
      return drawing('text', { x: x(now - minutes * 60), y: bottom + 15, 'text-anchor': anchor }, label);
    });
    return [...levels, ...times];
  }

  lines({ key, area }) {
    const { x, y, bottom } = this.scale;
    const runs = [];
    let before = -Infinity;
    for (const point of this.points) {
      if (point[key] == null) continue;
      if (point.time - before > GAP_SECS) runs.push([]);
      runs.at(-1).push(`${x(point.time).toFixed(1)} ${y(point[key]).toFixed(1)}`);
      before = point.time;
    }
    const line = drawing('path', { class: `line ${key}`, d: runs.map((run) => `M${run.join('L')}`).join('') });
    if (!area) return [line];
    const ground = runs.map((run) => `M${run[0].split(' ')[0]} ${bottom}L${run.join('L')}V${bottom}Z`).join('');
    return [drawing('path', { class: `area ${key}`, d: ground }), line];
  }

  cursor() {
    if (this.chosen === null) return [];
    const x = this.scale.x(this.chosen);
    return [drawing('path', { class: 'cursor', d: `M${x} ${MARGIN.top}V${this.scale.bottom}` })];
  }

  /** The figures of the chosen second, else of the last one. */
  read(now) {
    const point = this.points.find(({ time }) => time === this.chosen) ?? this.points.at(-1);
    this.series.forEach(({ key }, at) => write(this.values[at], this.format(point?.[key])));
    this.when.hidden = this.chosen === null;
    write(this.when, this.chosen !== null && point ? `${duration(now - point.time)} ago` : '');
    const spoken = this.series.map(({ key, label }) => `${label} ${this.format(point?.[key])}`).join(', ');
    mark(this.canvas, 'aria-description', `${spoken}. Arrow keys read earlier seconds.`);
  }
}

/** The small chart of a cell: one value per second, scaled to its own height. */
function sparkline() {
  const under = drawing('path', { class: 'under' });
  const line = drawing('path');
  const canvas = drawing('svg', { class: 'spark', viewBox: '0 0 60 26', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, under, line);
  return {
    canvas,
    draw(values) {
      const top = Math.max(1, ...values) * 1.08;
      const at = (value, index) => `${60 - values.length + index + 1} ${(25.2 - (value / top) * 24).toFixed(1)}`;
      const path = values.map(at).join('L');
      mark(line, 'd', `M${path}`);
      mark(under, 'd', `M${61 - values.length} 26L${path}V26Z`);
    },
  };
}
