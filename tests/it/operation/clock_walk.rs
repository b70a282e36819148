//! The wall clock jumps by an hour and by ten years, forwards, backwards and back again, while everything runs that
//! uses a time. Durations become neither shorter nor longer, and certificates are judged by the present time of the
//! clock.

mod certificates;
mod durations;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::managed::{ask, json_of};
use crate::support::shim::Clock;
use crate::support::{Proxy, eventually, metrics};

pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 24 * HOUR;
pub const YEARS: i64 = 10 * 365 * DAY;

/// The seconds by which the clock is ahead, one step after the other.
pub const STEPS: [i64; 11] = [HOUR, 0, -HOUR, 0, YEARS, 0, -YEARS, 0, YEARS, -YEARS, 0];

/// Sets the clock, and waits until the proxy shows it.
#[track_caller]
pub fn step(clock: &Clock, admin: SocketAddr, ahead: i64) {
    clock.set(ahead);
    let should = unix_secs() + ahead as f64;
    eventually("the clock has another time", || {
        let board = ask(admin, "GET /board", &[], "");
        let time = json_of(&board)["time"].as_f64().unwrap();
        (time - should).abs() < 0.4 * HOUR as f64
    });
}

fn unix_secs() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs_f64()
}

/// The API answers, every figure is a number, and nothing has panicked.
#[track_caller]
pub fn is_well(proxy: &Proxy, admin: SocketAddr) {
    let health = ask(admin, "GET /health", &[], "");
    assert_eq!(health.status(), 200, "{}", health.text());
    let text = metrics(admin);
    let figures = text.lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for line in figures {
        let figure = line.rsplit(' ').next().unwrap().parse::<f64>();
        assert!(figure.is_ok_and(f64::is_finite), "{line}");
        count += 1;
    }
    assert!(count > 50, "{text}");
    for path in ["/stats", "/stats/detail", "/workers", "/config/revisions"] {
        assert_eq!(ask(admin, &format!("GET {path}"), &[], "").status(), 200);
    }
    let log = proxy.log();
    assert!(!log.contains("panicked"), "{log}");
}
