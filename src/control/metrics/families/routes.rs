//! The metrics of routes and pools.

use std::fmt;

use super::failures_of;
use super::page::{CODES, Page};
use crate::control::metrics::Sources;
use crate::shared::route_counters::RouteTotals;
use crate::snapshot::Snapshot;

/// The metrics of each route that a request has taken.
pub(super) fn encode_routes(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    let used = snapshot
        .routes
        .iter()
        .filter(|route| route.counters.iter().next().is_some());
    let routes: Vec<(&str, RouteTotals)> = used
        .map(|route| (route.name.as_str(), route.counters.totals()))
        .collect();
    let each = |value: fn(&RouteTotals) -> u64| {
        routes
            .iter()
            .map(move |(name, totals)| ([("route", *name)], value(totals)))
    };
    let requests = routes.iter().flat_map(|(name, totals)| {
        let codes = CODES.into_iter().zip(totals.classes);
        codes.map(move |(code, count)| ([("route", *name), ("code", code)], count))
    });
    page.counters(
        "palantir_route_requests",
        "Requests of the route that have ended, by the class of the status that the client received",
        requests,
    )?;
    let failures = routes.iter().flat_map(|(name, totals)| {
        failures_of(&totals.failures)
            .map(move |(word, count)| ([("route", *name), ("reason", word)], count))
    });
    page.counters(
        "palantir_route_failures",
        "Requests of the route that palantir answered with an error of its own or cut, by group of reasons",
        failures,
    )?;
    page.counters(
        "palantir_route_retries",
        "Times that a request of the route was sent to a backend once more",
        each(|totals| totals.retries),
    )?;
    page.counters(
        "palantir_route_request_bytes",
        "Bytes of the bodies of the requests of the route",
        each(|totals| totals.request_bytes),
    )?;
    page.counters(
        "palantir_route_response_bytes",
        "Bytes of the bodies of the responses of the route",
        each(|totals| totals.response_bytes),
    )?;
    page.gauges(
        "palantir_route_requests_in_flight",
        "Requests of the route that are under way",
        each(|totals| totals.in_flight),
    )?;
    let times = routes
        .iter()
        .map(|(name, totals)| ([("route", *name)], totals.response_times.clone()));
    page.histograms(
        "palantir_route_response_seconds",
        "Time from the first byte of a request of the route until its response begins, in seconds",
        times,
    )
}

/// The metrics of each pool. Everything else of a pool is the sum over its backends.
pub(super) fn encode_pools(
    page: &mut Page<'_>,
    sources: &Sources,
    snapshot: &Snapshot,
) -> fmt::Result {
    let waiting = snapshot
        .pools
        .iter()
        .map(|pool| ([("pool", pool.name.as_str())], pool.counters.waiting()));
    page.gauges(
        "palantir_pool_waiting_requests",
        "Requests that wait for a connection to a backend of the pool",
        waiting,
    )?;
    let panics = snapshot.pools.iter().map(|pool| {
        let labels = [("pool", pool.name.as_str())];
        (labels, u64::from(sources.panics(pool)))
    });
    page.gauges(
        "palantir_pool_panic",
        "1 while all backends of the pool take requests because fewer are healthy than panic_threshold says, else 0",
        panics,
    )
}
