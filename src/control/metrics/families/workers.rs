//! The metrics of the workers.

use std::fmt;

use super::page::{CODES, Page};
use crate::control::metrics::Sources;
use crate::control::metrics::process::{thread_cpu_seconds, thread_waits};
use crate::shared::worker_counters::WorkerCounters;

/// The metrics of each worker.
pub(super) fn encode_workers(page: &mut Page<'_>, sources: &Sources) -> fmt::Result {
    let numbers: Vec<String> = (0..sources.counters.len()).map(|n| n.to_string()).collect();
    let workers = || {
        let labels = numbers.iter().map(|number| [("worker", number.as_str())]);
        labels.zip(sources.counters.iter().map(|counters| &**counters))
    };
    let each = |value: fn(&WorkerCounters) -> u64| {
        workers().map(move |(labels, counters)| (labels, value(counters)))
    };
    let requests = workers().flat_map(|([worker], counters)| {
        let codes = CODES.into_iter().zip(counters.classes());
        codes.map(move |(code, count)| ([worker, ("code", code)], count))
    });
    page.counters(
        "palantir_requests",
        "Requests that have ended, by the class of the status that the client received",
        requests,
    )?;
    page.gauges(
        "palantir_requests_in_flight",
        "Requests of clients that are under way",
        each(|counters| counters.exchanges().into()),
    )?;
    page.gauges(
        "palantir_client_connections",
        "Client connections that are open",
        each(|counters| counters.connections().into()),
    )?;
    page.counters(
        "palantir_client_connections_accepted",
        "Client connections that have been accepted",
        each(WorkerCounters::accepted),
    )?;
    page.gauges(
        "palantir_clients_waiting",
        "Accepted clients that wait because no more clients may be connected; further clients may wait in the queues \
         of the kernel",
        each(WorkerCounters::waiting),
    )?;
    page.counters(
        "palantir_accept_pauses",
        "Pauses of accepting because no more clients might be connected, or because descriptors or memory were short",
        each(WorkerCounters::paused),
    )?;
    page.counters(
        "palantir_worker_operations",
        "Operations that the worker has submitted to io_uring",
        each(WorkerCounters::operations),
    )?;
    let waits = workers()
        .filter_map(|(labels, counters)| Some((labels, thread_waits(counters.thread()?)?)));
    page.counters(
        "palantir_worker_waits",
        "Times that the worker had nothing to do and slept",
        waits,
    )?;
    let cpu = workers()
        .filter_map(|(labels, counters)| Some((labels, thread_cpu_seconds(counters.thread()?)?)));
    page.counters(
        "palantir_worker_cpu_seconds",
        "CPU time that the worker has used, in seconds",
        cpu,
    )?;
    let lags = workers().map(|(labels, counters)| (labels, counters.loop_lag()));
    page.histograms(
        "palantir_worker_loop_lag_seconds",
        "Delay of the worker's loop behind a timer that is due ten times a second, in seconds",
        lags,
    )
}
