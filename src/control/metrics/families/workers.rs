//! The metrics of the workers.

use std::fmt;

use super::page::{CODES, Page};
use crate::control::metrics::Sources;
use crate::control::metrics::process::{thread_cpu_seconds, thread_waits};
use crate::shared::gauges::WorkerGauges;

/// The metrics of each worker.
pub(super) fn encode_workers(page: &mut Page<'_>, sources: &Sources) -> fmt::Result {
    let numbers: Vec<String> = (0..sources.gauges.len()).map(|n| n.to_string()).collect();
    let workers = || {
        let labels = numbers.iter().map(|number| [("worker", number.as_str())]);
        labels.zip(sources.gauges.iter().map(|gauges| &**gauges))
    };
    let each = |value: fn(&WorkerGauges) -> u64| {
        workers().map(move |(labels, gauges)| (labels, value(gauges)))
    };
    let requests = workers().flat_map(|([worker], gauges)| {
        let codes = CODES.into_iter().zip(gauges.classes());
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
        each(|gauges| gauges.exchanges().into()),
    )?;
    page.gauges(
        "palantir_client_connections",
        "Client connections that are open",
        each(|gauges| gauges.connections().into()),
    )?;
    page.counters(
        "palantir_client_connections_accepted",
        "Client connections that have been accepted",
        each(WorkerGauges::accepted),
    )?;
    page.gauges(
        "palantir_clients_waiting",
        "Accepted clients that wait because no more clients may be connected; further clients may wait in the queues \
         of the kernel",
        each(WorkerGauges::waiting),
    )?;
    page.counters(
        "palantir_accept_pauses",
        "Pauses of accepting because no more clients might be connected, or because descriptors or memory were short",
        each(WorkerGauges::paused),
    )?;
    page.counters(
        "palantir_worker_operations",
        "Operations that the worker has submitted to io_uring",
        each(WorkerGauges::operations),
    )?;
    let waits =
        workers().filter_map(|(labels, gauges)| Some((labels, thread_waits(gauges.thread()?)?)));
    page.counters(
        "palantir_worker_waits",
        "Times that the worker had nothing to do and slept",
        waits,
    )?;
    let cpu = workers()
        .filter_map(|(labels, gauges)| Some((labels, thread_cpu_seconds(gauges.thread()?)?)));
    page.counters(
        "palantir_worker_cpu_seconds",
        "CPU time that the worker has used, in seconds",
        cpu,
    )?;
    let lags = workers().map(|(labels, gauges)| (labels, gauges.loop_lag()));
    page.histograms(
        "palantir_worker_loop_lag_seconds",
        "Delay of the worker's loop behind a timer that is due ten times a second, in seconds",
        lags,
    )
}
