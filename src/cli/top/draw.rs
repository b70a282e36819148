//! One frame of `palantir top`.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Axis, Block, Chart, Dataset, GraphType, List, ListItem, Paragraph, Row, Table, TableState,
};

use super::View;
use super::figures::{duration, latency, percent, rate, size, state};
use super::stats::{TopBackend, TopCache, TopPoint, TopStats, TopTransition, Worker};
use crate::base::limits;

/// Rows below which a part is left out, so that the backends keep their place.
const ROWS_WITH_CHARTS: u16 = 28;
const ROWS_WITH_TRANSITIONS: u16 = 18;
/// A core that is busier than this has no room for a burst.
const FULL_PERCENT: f64 = 90.0;
/// Figures of one core: its number, a bar, its load and what it does.
const CORE_COLUMNS: u16 = 49;
const BAR_CELLS: usize = 10;
/// The column of the backends' table from which on numbers stand.
const FIRST_FIGURE: usize = 4;

/// Draws everything that is known.
pub(super) fn draw(frame: &mut Frame, view: &View) {
    let Some(stats) = &view.stats else {
        return;
    };
    let area = frame.area();
    let per_row = (area.width / CORE_COLUMNS).max(1);
    let core_rows = (stats.workers.len() as u16)
        .div_ceil(per_row)
        .min(area.height / 4);
    let with = |least: u16, rows: u16| if area.height >= least { rows } else { 0 };
    let [head, totals, charts, cores, backends, transitions, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(if stats.cache.is_some() { 3 } else { 2 }),
        Constraint::Length(with(ROWS_WITH_CHARTS, 9)),
        Constraint::Length(core_rows + 1),
        Constraint::Min(4),
        Constraint::Length(with(ROWS_WITH_TRANSITIONS, 6)),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, view, stats);
    draw_totals(frame, totals, stats);
    draw_charts(frame, charts, view);
    draw_cores(frame, cores, &stats.workers, per_row.into());
    draw_backends(frame, backends, view, stats);
    draw_transitions(frame, transitions, stats);
    let hint = "q quit   ↑ ↓ choose   n only those that are not healthy";
    frame.render_widget(Line::from(hint).dim(), keys);
}

fn draw_head(frame: &mut Frame, area: Rect, view: &View, stats: &TopStats) {
    let link = match &view.trouble {
        None => Span::from("● live").green(),
        Some(why) => Span::from(format!("◇ no news: {why}")).red().bold(),
    };
    let title = format!(" {}, revision {}", stats.version, stats.revision);
    let mut line = Line::from(vec!["palantir".bold(), title.into(), "  ".into(), link]);
    if stats.phase != "running" {
        line.push_span(format!("  {}", stats.phase).yellow().bold());
    }
    frame.render_widget(line, area);
}

fn draw_totals(frame: &mut Frame, area: Rect, stats: &TopStats) {
    let totals = &stats.totals;
    let failing = if totals.failures_per_sec > 0.0 {
        Style::new().red().bold()
    } else {
        Style::new()
    };
    let pairs = [
        ("requests/s", Span::from(rate(totals.requests_per_sec))),
        (
            "failures/s",
            Span::styled(rate(totals.failures_per_sec), failing),
        ),
        ("in flight", totals.in_flight.to_string().into()),
        ("connections", totals.connections.to_string().into()),
        ("p50", latency(totals.p50_ms).into()),
        ("p99", latency(totals.p99_ms).into()),
    ];
    let cache = stats.cache.as_ref();
    let lines = [
        Some(figures(pairs)),
        cache.map(|cache| cache_line(cache, stats.time)),
    ];
    let lines: Vec<Line> = lines.into_iter().flatten().collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// Figures in a line, each before its name.
fn figures<'a, const N: usize>(pairs: [(&'static str, Span<'a>); N]) -> Line<'a> {
    let spans = pairs
        .into_iter()
        .flat_map(|(name, value)| [value.bold(), " ".into(), name.dim(), "   ".into()]);
    Line::from_iter(spans)
}

fn cache_line(cache: &TopCache, now: f64) -> Line<'static> {
    let stale = match cache.stale_since {
        None => Span::from("0"),
        Some(since) => {
            let (rate, time) = (rate(cache.stale_per_sec), duration(now - since));
            Span::from(format!("{rate} for {time}")).yellow()
        }
    };
    let mut line = figures([
        ("hits", percent(cache.hit_percent).into()),
        ("saved requests/s", rate(cache.answered_per_sec).into()),
        ("saved/s", size(cache.served_bytes_per_sec).into()),
        ("stale/s", stale),
        ("entries", cache.entries.to_string().into()),
        (
            "used",
            format!(
                "{} of {}",
                size(cache.used_bytes as f64),
                size(cache.max_bytes as f64)
            )
            .into(),
        ),
    ]);
    line.spans.insert(0, "cache   ".dim());
    line
}

fn draw_charts(frame: &mut Frame, area: Rect, view: &View) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2])
        .spacing(2)
        .areas(area);
    let points = &view.history;
    let now = points.back().map_or(0.0, |point| point.time);
    let course = |value: fn(&TopPoint) -> Option<f64>| -> Vec<(f64, f64)> {
        let known = points
            .iter()
            .filter_map(|point| Some((point.time - now, value(point)?)));
        known.collect()
    };
    let requests = course(|point| Some(point.requests_per_sec));
    let failures = course(|point| Some(point.failures_per_sec));
    let traffic = [
        ("requests/s", Color::Cyan, &requests),
        ("failures/s", Color::Red, &failures),
    ];
    draw_chart(frame, left, &traffic, rate);
    let (p50, p99) = (course(|point| point.p50_ms), course(|point| point.p99_ms));
    let lines = [("p99", Color::Magenta, &p99), ("p50", Color::Blue, &p50)];
    draw_chart(frame, right, &lines, |ms| latency(Some(ms)));
}

/// A name, a colour and the values over the seconds before now.
type Course<'a> = (&'static str, Color, &'a Vec<(f64, f64)>);

fn draw_chart(frame: &mut Frame, area: Rect, courses: &[Course<'_>], format: fn(f64) -> String) {
    let values = courses.iter().flat_map(|(_, _, values)| values.iter());
    let top = values.map(|(_, value)| *value).fold(1.0, f64::max) * 1.05;
    let lines = courses.iter().map(|(_, colour, values)| {
        Dataset::default()
            .graph_type(GraphType::Line)
            .marker(Marker::Braille)
            .style(*colour)
            .data(values)
    });
    let title = courses
        .iter()
        .flat_map(|(name, colour, _)| [Span::from("— ").fg(*colour), (*name).into(), "  ".into()]);
    let past = -(limits::TOP_HISTORY_SECS as f64);
    let chart = Chart::new(lines.collect())
        .block(Block::new().title(Line::from_iter(title)))
        .x_axis(
            Axis::default()
                .bounds([past, 0.0])
                .labels(["-5 min", "now"])
                .dim(),
        )
        .y_axis(
            Axis::default()
                .bounds([0.0, top])
                .labels([format(0.0), format(top)])
                .dim(),
        );
    frame.render_widget(chart, area);
}

fn draw_cores(frame: &mut Frame, area: Rect, workers: &[Worker], per_row: usize) {
    let lines = workers.chunks(per_row).map(|row| {
        let spans = row.iter().flat_map(core);
        Line::from_iter(spans)
    });
    let text: Vec<Line> = lines.collect();
    frame.render_widget(Paragraph::new(text), area);
}

/// As wide as [`CORE_COLUMNS`].
fn core(worker: &Worker) -> [Span<'static>; 4] {
    let busy = worker.busy_percent.unwrap_or(0.0).clamp(0.0, 100.0);
    let filled = (busy / 100.0 * BAR_CELLS as f64).round() as usize;
    let colour = if busy >= FULL_PERCENT {
        Color::Red
    } else {
        Color::Cyan
    };
    let figures = format!(
        "{busy:>4.0} % {:>6}/s {:>8} lag",
        rate(worker.requests_per_sec),
        latency(worker.loop_lag_ms)
    );
    [
        format!("core {:<3} ", worker.worker).dim(),
        "■".repeat(filled).fg(colour),
        "·".repeat(BAR_CELLS - filled).dim(),
        Span::from(format!("{figures:<30}")),
    ]
}

fn draw_backends(frame: &mut Frame, area: Rect, view: &View, stats: &TopStats) {
    let rows = view.rows();
    let titles = [
        "Pool",
        "Backend",
        "State",
        "Since",
        "Req/s",
        "In flight",
        "p50",
        "p99",
        "Errors",
        "Weight",
    ];
    let widths = [
        Constraint::Fill(1),
        Constraint::Fill(3),
        Constraint::Length(11),
        Constraint::Length(10),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(6),
    ];
    let lines = rows
        .iter()
        .map(|(pool, backend)| backend_row(pool, backend, stats.time));
    let table = Table::new(lines, widths)
        .header(aligned(titles.map(Line::from)).bold().underlined())
        .row_highlight_style(Modifier::REVERSED);
    let chosen = view.chosen.min(rows.len().saturating_sub(1));
    let mut choice = TableState::new().with_selected((!rows.is_empty()).then_some(chosen));
    frame.render_stateful_widget(table, area, &mut choice);
}

fn backend_row(pool: &str, backend: &TopBackend, now: f64) -> Row<'static> {
    let since = backend.since.map(|since| duration(now - since));
    aligned([
        Line::from(pool.to_owned()),
        backend.label.clone().into(),
        Line::from(state(&backend.state)).style(colour(&backend.state)),
        since.unwrap_or_default().into(),
        rate(backend.requests_per_sec).into(),
        backend.in_flight.to_string().into(),
        latency(backend.p50_ms).into(),
        latency(backend.p99_ms).into(),
        percent(backend.error_percent).into(),
        backend.weight.to_string().into(),
    ])
}

/// Names to the left, figures to the right.
fn aligned(cells: [Line<'static>; 10]) -> Row<'static> {
    let cells = cells.into_iter().enumerate();
    Row::new(cells.map(|(column, cell)| {
        if column < FIRST_FIGURE {
            cell
        } else {
            cell.right_aligned()
        }
    }))
}

fn colour(state: &str) -> Style {
    match state {
        "healthy" => Style::new().green(),
        "unhealthy" => Style::new().red().bold(),
        "ejected" => Style::new().yellow().bold(),
        _ => Style::new().blue(),
    }
}

fn draw_transitions(frame: &mut Frame, area: Rect, stats: &TopStats) {
    let lines = stats
        .transitions
        .iter()
        .map(|one| transition(one, stats.time));
    let title = Line::from("Changes of health").bold();
    frame.render_widget(List::new(lines).block(Block::new().title(title)), area);
}

fn transition(one: &TopTransition, now: f64) -> ListItem<'static> {
    let TopTransition {
        time,
        pool,
        backend,
        from,
        to,
        reason,
    } = one;
    ListItem::new(Line::from(vec![
        Span::from(format!("{:>11} ago  ", duration(now - time))).dim(),
        Span::from(format!("{backend} of {pool} ")),
        Span::styled(state(to), colour(to)),
        Span::from(format!(" (was {from}): {}", reason.replace('_', " "))),
    ]))
}
