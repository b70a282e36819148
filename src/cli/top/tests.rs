//! Tests of the screen as text.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::*;

fn stats(states: &[&str]) -> TopStats {
    let backends: Vec<_> = states
        .iter()
        .enumerate()
        .map(|(number, state)| {
            json!({
                "address": format!("10.0.0.{number}:80"), "label": format!("10.0.0.{number}:80"), "state": state,
                "since": 1_000.0, "weight": 3, "in_flight": 4, "requests_per_sec": 1234.0, "p50_ms": 1.5,
                "p99_ms": null, "error_percent": 38.2, "success": 1, "failed": 2, "last_failure": null,
            })
        })
        .collect();
    let stats = json!({
        "time": 1_090.0, "version": "0.1.0", "revision": 14, "phase": "running",
        "totals": {"requests_per_sec": 9876.0, "failures_per_sec": 0.5, "in_flight": 7, "connections": 99,
            "p50_ms": 1.2, "p99_ms": 45.6},
        "workers": [{"worker": 0, "connections": 5, "requests_per_sec": 10.0, "in_flight": 1, "busy_percent": 93.0,
            "loop_lag_ms": 0.1}],
        "pools": [{"name": "api", "algorithm": "round_robin", "backends": backends}],
        "transitions": [{"time": 1_080.0, "pool": "api", "backend": "10.0.0.1:80", "from": "healthy",
            "to": "unhealthy", "reason": "connect_refused"}],
    });
    serde_json::from_value(stats).unwrap()
}

fn seen(view: &View, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw::draw(frame, view)).unwrap();
    terminal.backend().to_string()
}

fn view(states: &[&str]) -> View {
    let mut view = View::default();
    view.take(stats(states));
    view
}

fn press(view: &mut View, code: KeyCode) -> bool {
    view.press(KeyEvent::from(code))
}

#[test]
fn a_large_terminal_shows_everything() {
    let text = seen(&view(&["healthy", "unhealthy"]), 140, 40);
    let words = [
        "0.1.0, revision 14",
        "● live",
        "9876 requests/s",
        "46 ms p99",
        "core 0",
        "93 %",
        "● healthy",
        "▲ unhealthy",
        "1 min",
        "1234",
        "38 %",
        "10 s ago",
        "(was healthy): connect refused",
        "-5 min",
    ];
    for word in words {
        assert!(text.contains(word), "{word:?} is not in\n{text}");
    }
}

#[test]
fn the_cache_has_a_line() {
    let mut view = view(&["healthy"]);
    assert!(!seen(&view, 140, 40).contains("hits"));
    let mut stats = stats(&["healthy"]);
    stats.time += 1.0;
    stats.cache = serde_json::from_value(json!({
        "used_bytes": 3 << 20, "max_bytes": 8 << 20, "entries": 12, "hit_percent": 93.7, "answered_per_sec": 250.0,
        "served_bytes_per_sec": 4096.0, "stale_per_sec": 2.0, "stale_since": 1_000.0,
    }))
    .unwrap();
    view.take(stats);
    let text = seen(&view, 140, 40);
    for words in [
        "94 % hits",
        "250 saved requests/s",
        "4.0 KiB saved/s",
        "2 for 1 min stale/s",
        "3.0 MiB of 8.0 MiB",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
}

#[test]
fn a_small_terminal_keeps_the_backends() {
    let text = seen(&view(&["healthy", "draining"]), 100, 12);
    assert!(text.contains("◐ draining"), "{text}");
    assert!(!text.contains("-5 min"), "{text}");
}

#[test]
fn no_size_is_too_small() {
    let view = view(&["healthy"; 30]);
    for (columns, rows) in [(1, 1), (5, 3), (20, 50), (300, 2)] {
        seen(&view, columns, rows);
    }
}

#[test]
fn keys_choose_filter_and_quit() {
    let mut view = view(&["healthy", "ejected", "healthy"]);
    for (code, chosen) in [
        (KeyCode::Down, 1),
        (KeyCode::End, 2),
        (KeyCode::Down, 2),
        (KeyCode::PageUp, 0),
    ] {
        assert!(press(&mut view, code));
        assert_eq!(view.chosen, chosen, "{code:?}");
    }
    assert!(press(&mut view, KeyCode::Char('n')));
    let labels: Vec<&str> = view
        .rows()
        .iter()
        .map(|(_, row)| row.label.as_str())
        .collect();
    assert_eq!(labels, ["10.0.0.1:80"]);
    assert!(!press(&mut view, KeyCode::Char('q')));
    assert!(!view.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
}

#[test]
fn the_last_figures_stay_when_palantir_goes() {
    let mut view = view(&["healthy"]);
    view.trouble = Some("no palantir at 127.0.0.1:8687".to_owned());
    let text = seen(&view, 140, 40);
    assert!(
        text.contains("no news: no palantir") && text.contains("● healthy"),
        "{text}"
    );
    view.take(stats(&["healthy"]));
    assert!(seen(&view, 140, 40).contains("● live"));
}

#[test]
fn history_is_bounded() {
    let mut view = View::default();
    for second in 0..limits::TOP_HISTORY_SECS + 10 {
        let mut next = stats(&[]);
        next.time = second as f64;
        view.take(next);
    }
    assert_eq!(view.history.len(), limits::TOP_HISTORY_SECS);
    assert_eq!(view.history.front().unwrap().time, 10.0);
}
