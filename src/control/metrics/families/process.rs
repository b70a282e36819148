//! The metrics of the process: its use of the machine, its memory, and the lines that its logs have lost.

use std::fmt;

use super::page::Page;
use crate::base::time::Micros;
use crate::base::{log, memory};
use crate::control::metrics::Sources;
use crate::control::metrics::process::Process;
use crate::shared::worker_counters::WorkerCounters;

/// The process by the names that all Prometheus clients use.
pub(super) fn encode_process(page: &mut Page<'_>) -> fmt::Result {
    let process = Process::look();
    let cpu = process.cpu_seconds.map(|seconds| ([], seconds));
    page.counters(
        "process_cpu_seconds",
        "CPU time that the process has used, user and system, in seconds",
        cpu,
    )?;
    page.gauge(
        "process_resident_memory_bytes",
        "Resident memory of the process, in bytes",
        process.resident_bytes,
    )?;
    page.gauge(
        "process_virtual_memory_bytes",
        "Virtual memory of the process, in bytes",
        process.virtual_bytes,
    )?;
    page.gauge(
        "process_open_fds",
        "File descriptors that the process has open",
        process.open_descriptors,
    )?;
    page.gauge(
        "process_max_fds",
        "File descriptors that the process may have open",
        process.most_descriptors,
    )?;
    page.gauge("process_threads", "Threads of the process", process.threads)?;
    page.gauge(
        "process_start_time_seconds",
        "Unix time of the start of the process, in seconds",
        process.started,
    )
}

/// How much memory is in use, and what was done for want of it.
pub(super) fn encode_memory(page: &mut Page<'_>, sources: &Sources) -> fmt::Result {
    let usage = memory::usage();
    page.gauge(
        "palantir_memory_bytes",
        "Memory in use, in bytes: allocated memory and the program itself",
        Some(usage.used as u64),
    )?;
    page.gauge(
        "palantir_memory_budget_bytes",
        "Memory that the process may use (limits.memory), in bytes",
        Some(usage.budget as u64),
    )?;
    let sum = |count: fn(&WorkerCounters) -> u64| {
        let total: u64 = sources
            .counters
            .iter()
            .map(|counters| count(counters))
            .sum();
        [([], total)]
    };
    page.counters(
        "palantir_memory_refused_streams",
        "HTTP/2 streams of clients that were refused because memory was short",
        sum(WorkerCounters::refused_streams),
    )?;
    page.counters(
        "palantir_memory_ended_exchanges",
        "Requests that were ended because memory was short; requests whose bytes the receiver did not take were \
         ended first",
        sum(WorkerCounters::ended_exchanges),
    )
}

/// The lines that the access log and the program's log lost.
pub(super) fn encode_logs(page: &mut Page<'_>, sources: &Sources) -> fmt::Result {
    let workers: Vec<String> = (0..sources.counters.len()).map(|n| n.to_string()).collect();
    let rings = workers.iter().zip(sources.counters.iter());
    let rings = rings.map(|(worker, counters)| {
        let labels = [("worker", worker.as_str()), ("reason", "full_ring")];
        (labels, counters.lost_lines())
    });
    // The worker of these lines is no longer known; an empty label counts as an absent one.
    let labels = [("worker", ""), ("reason", "failed_write")];
    let failed = (labels, sources.access_log.lost_lines());
    page.counters(
        "palantir_access_log_lost_lines",
        "Lines of the access log that were lost because the ring of their worker was full or a write to the file \
         failed",
        rings.chain([failed]),
    )?;
    let is_stalled = sources.access_log.is_stalled(Micros::now());
    page.gauge(
        "palantir_access_log_stalled",
        "1 while an operation on the file of the access log does not end, else 0",
        Some(u64::from(is_stalled)),
    )?;
    page.counters(
        "palantir_log_lost_lines",
        "Lines of the program's log that could not be written to standard error",
        [([], log::lost_lines())],
    )
}
