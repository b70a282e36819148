//! The metrics of backends: what the workers count, and the states.

use std::fmt;
use std::time::SystemTime;

use super::failures_of;
use super::page::{CODES, Labels, Page};
use crate::base::time::Micros;
use crate::control::metrics::{STATES, Sources, unix_secs};
use crate::shared::backend_table::BackendState;
use crate::shared::route_counters::BackendTotals;
use crate::snapshot::{Backend, Pool, Snapshot};

/// A backend with its counts.
pub(super) struct CountedBackend<'a> {
    pool: &'a Pool,
    backend: &'a Backend,
    totals: BackendTotals,
}

impl<'a> CountedBackend<'a> {
    /// Every backend of the snapshot, with what all workers have counted of it until now.
    pub(super) fn all(snapshot: &'a Snapshot) -> Vec<CountedBackend<'a>> {
        let pools = snapshot.pools.iter();
        pools
            .flat_map(|pool| {
                pool.backends.iter().map(move |backend| CountedBackend {
                    pool,
                    backend,
                    totals: backend.slot.counters().totals(),
                })
            })
            .collect()
    }

    fn labels(&self) -> Labels<'a, 2> {
        [("pool", &self.pool.name), ("backend", &self.backend.label)]
    }

    /// With one more label.
    fn labels_and(&self, name: &'static str, value: &'static str) -> Labels<'a, 3> {
        let [pool, backend] = self.labels();
        [pool, backend, (name, value)]
    }
}

/// The workers' counts of each backend.
pub(super) fn encode_backend_counters(
    page: &mut Page<'_>,
    backends: &[CountedBackend<'_>],
) -> fmt::Result {
    let each = |value: fn(&BackendTotals) -> u64| {
        backends
            .iter()
            .map(move |counted| (counted.labels(), value(&counted.totals)))
    };
    let answers = backends.iter().flat_map(|counted| {
        let codes = CODES.into_iter().zip(counted.totals.answers);
        codes.map(move |(code, count)| (counted.labels_and("code", code), count))
    });
    page.counters(
        "palantir_backend_responses",
        "Responses of the backend, by the class of their status",
        answers,
    )?;
    let failures = backends.iter().flat_map(|counted| {
        failures_of(&counted.totals.failures)
            .map(move |(word, count)| (counted.labels_and("reason", word), count))
    });
    page.counters(
        "palantir_backend_failures",
        "Attempts to send a request that failed by the fault of the backend, by group of reasons",
        failures,
    )?;
    page.counters(
        "palantir_backend_request_bytes",
        "Bytes of the bodies of the requests that the backend was sent",
        each(|totals| totals.request_bytes),
    )?;
    page.counters(
        "palantir_backend_response_bytes",
        "Bytes of the bodies of the responses of the backend",
        each(|totals| totals.response_bytes),
    )?;
    let times = backends
        .iter()
        .filter(|counted| counted.totals.response_times.count() > 0)
        .map(|counted| (counted.labels(), counted.totals.response_times.coarse()));
    page.histograms(
        "palantir_backend_response_seconds",
        "Time from the sending of a request until the response of the backend begins, in seconds",
        times,
    )?;
    let times = backends
        .iter()
        .filter(|counted| counted.totals.connect_times.count() > 0)
        .map(|counted| (counted.labels(), counted.totals.connect_times.clone()));
    page.histograms(
        "palantir_backend_connect_seconds",
        "Time that it took to connect to the backend, in seconds",
        times,
    )
}

/// The present state of each backend, and how often it has changed.
pub(super) fn encode_backend_states(
    page: &mut Page<'_>,
    sources: &Sources,
    backends: &[CountedBackend<'_>],
) -> fmt::Result {
    let tables = &sources.tables;
    let each = |value: &dyn Fn(&Backend) -> u64| {
        let rows: Vec<_> = backends
            .iter()
            .map(|counted| (counted.labels(), value(counted.backend)))
            .collect();
        rows
    };
    let states = backends.iter().flat_map(|counted| {
        let now = sources.state(counted.backend);
        STATES
            .into_iter()
            .map(move |state| (counted.labels_and("state", state), u64::from(state == now)))
    });
    page.gauges(
        "palantir_backend_state",
        "1 for the present state of the backend, 0 for every other state",
        states,
    )?;
    let (now, wall) = (Micros::now(), SystemTime::now());
    let since = backends.iter().map(|counted| {
        let since = counted.backend.slot.counters().changes.since();
        (counted.labels(), unix_secs(since, now, wall))
    });
    page.gauges(
        "palantir_backend_state_changed_timestamp_seconds",
        "Unix time of the last change of the backend's state, in seconds",
        since,
    )?;
    let transitions = backends.iter().flat_map(|counted| {
        let changes = &counted.backend.slot.counters().changes;
        BackendState::ALL
            .into_iter()
            .map(move |to| (counted.labels_and("to", to.label()), changes.to(to)))
    });
    page.counters(
        "palantir_backend_transitions",
        "Changes of the backend's state, by the new state; the changes to ejected are the ejections of the backend",
        transitions,
    )?;
    page.gauges(
        "palantir_backend_weight",
        "Weight of the backend in the balancing",
        each(&|backend| backend.weight.into()),
    )?;
    page.gauges(
        "palantir_backend_requests_in_flight",
        "Requests that are under way at the backend",
        each(&|backend| tables.in_flight(backend.id()).into()),
    )?;
    page.gauges(
        "palantir_backend_idle_connections",
        "Idle connections to the backend that are kept for further requests",
        each(&|backend| tables.idle(backend.id()).into()),
    )
}
