//! The metrics, with their names and meanings. Every label's values come from the configuration or from a fixed list,
//! never from a request.
//!
//! Routes that no request has taken yet, reasons for which nothing of a route or backend has failed yet, and times of
//! backends that have answered nothing yet are left out: with ten thousand routes or a thousand backends they would be
//! most of the text.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use super::process::{Process, thread_cpu_seconds, thread_waits};
use super::{STATES, Sources, unix_secs};
use crate::base::time::Micros;
use crate::base::{log, memory};
use crate::control::ask::InForce;
use crate::control::pending::OPERATIONS;
use crate::shared::backend_table::BackendState;
use crate::shared::connection_failure::{CONNECTION_FAILURES, CONNECTION_REASONS};
use crate::shared::counts::{BackendTotals, PerGroup, RouteTotals};
use crate::shared::failure::{FAILURES, REASONS, group_label};
use crate::shared::gauges::WorkerGauges;
use crate::shared::histogram::Times;
use crate::snapshot::{Backend, Pool, Snapshot};
use crate::tls::unix_secs as unix_secs_of;

/// All metrics of these sources.
#[derive(Debug)]
pub(super) struct Families(pub(super) Sources);

impl Collector for Families {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sources = &self.0;
        let in_force = sources.standing.borrow().clone();
        let mut page = Page(encoder);
        encode_process(&mut page)?;
        encode_whole(&mut page, sources, &in_force)?;
        encode_memory(&mut page, sources)?;
        encode_certificates(&mut page, &in_force.snapshot)?;
        encode_orders(&mut page, sources, &in_force)?;
        encode_pending(&mut page, sources)?;
        encode_workers(&mut page, sources)?;
        encode_logs(&mut page, sources)?;
        encode_routes(&mut page, &in_force.snapshot)?;
        encode_pools(&mut page, sources, &in_force.snapshot)?;
        let backends = Counted::all(&in_force.snapshot);
        encode_backend_counts(&mut page, &backends)?;
        encode_backend_states(&mut page, sources, &backends)
    }
}

type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// Classes of statuses as the label `code` names them.
const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The text being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// A family of counters; `_total` is appended to its name.
    fn counters<'l, V: EncodeCounterValue, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<'l, V: EncodeGaugeValue, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// One number without labels; left out if it is not known.
    fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        value: Option<V>,
    ) -> fmt::Result {
        let Some(value) = value else {
            return Ok(());
        };
        self.0
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&value)
    }

    fn histograms<'l, const CELLS: usize, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, Times<CELLS>)>,
    ) -> fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, times) in rows {
            let buckets: Vec<(f64, u64)> = times.buckets().collect();
            let sum = times.sum_micros as f64 / 1e6;
            family
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(sum, times.count(), &buckets, None)?;
        }
        Ok(())
    }
}

/// The process by the names that all Prometheus clients use.
fn encode_process(page: &mut Page<'_>) -> fmt::Result {
    let process = Process::look();
    let cpu = process.cpu_seconds.map(|seconds| ([], seconds));
    page.counters(
        "process_cpu_seconds",
        "CPU time used, user and system, in seconds",
        cpu,
    )?;
    page.gauge(
        "process_resident_memory_bytes",
        "Resident memory in bytes",
        process.resident_bytes,
    )?;
    page.gauge(
        "process_virtual_memory_bytes",
        "Virtual memory in bytes",
        process.virtual_bytes,
    )?;
    page.gauge(
        "process_open_fds",
        "Open file descriptors",
        process.open_descriptors,
    )?;
    page.gauge(
        "process_max_fds",
        "Most file descriptors that may be open",
        process.most_descriptors,
    )?;
    page.gauge("process_threads", "Threads", process.threads)?;
    page.gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970",
        process.started,
    )
}

/// Palantir as a whole.
fn encode_whole(page: &mut Page<'_>, sources: &Sources, in_force: &InForce) -> fmt::Result {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauges(
        "palantir_build_info",
        "Always 1; the label says which version runs",
        [(version, 1u64)],
    )?;
    page.gauge(
        "palantir_config_revision",
        "Revision of the configuration in force",
        Some(in_force.revision),
    )?;
    page.gauge(
        "palantir_generations",
        "Configurations in use: the one in force, and earlier ones with requests that still run",
        Some(sources.generations.get()),
    )?;
    page.gauge(
        "palantir_look_ups_hanging",
        "Look-ups of host names that have had no answer for 5 seconds and keep a thread each",
        Some(sources.hanging_look_ups.get()),
    )?;
    page.gauge(
        "palantir_client_connections_limit",
        "Client connections that all listeners together may have",
        Some(in_force.snapshot.most_clients() as u64),
    )?;
    let draining = Some(u64::from(in_force.draining));
    page.gauge("palantir_draining", "1 once a stop has begun", draining)?;
    let mut reasons = [0; REASONS];
    for gauges in sources.gauges.iter() {
        let counted = reasons.iter_mut().zip(gauges.reasons());
        counted.for_each(|(sum, count)| *sum += count);
    }
    let rows = FAILURES.iter().zip(reasons).map(|(row, count)| {
        let labels = [("reason", row.label), ("fault", row.fault.label())];
        (labels, count)
    });
    page.counters(
        "palantir_failures",
        "Requests that palantir answered or cut itself, by reason and by whose fault it was",
        rows,
    )?;
    let mut ended = [0; CONNECTION_REASONS];
    for gauges in sources.gauges.iter() {
        let counted = ended.iter_mut().zip(gauges.connection_failures());
        counted.for_each(|(sum, count)| *sum += count);
    }
    let rows = CONNECTION_FAILURES.iter().zip(ended);
    page.counters(
        "palantir_connection_failures",
        "Connections of clients that were ended because of what they sent before or beside requests, by reason",
        rows.map(|(row, count)| ([("reason", row.label)], count)),
    )
}

/// How much memory is in use, and what was done for want of it.
fn encode_memory(page: &mut Page<'_>, sources: &Sources) -> fmt::Result {
    let usage = memory::usage();
    page.gauge(
        "palantir_memory_bytes",
        "Bytes of memory that are allocated, and those of the program itself",
        Some(usage.used as u64),
    )?;
    page.gauge(
        "palantir_memory_budget_bytes",
        "Bytes of memory that the process may use (limits.memory_bytes)",
        Some(usage.budget as u64),
    )?;
    let sum = |count: fn(&WorkerGauges) -> u64| {
        let total: u64 = sources.gauges.iter().map(|gauges| count(gauges)).sum();
        [([], total)]
    };
    page.counters(
        "palantir_memory_refused_streams",
        "Streams of clients' HTTP/2 connections that were refused because memory was short",
        sum(WorkerGauges::refused_streams),
    )?;
    page.counters(
        "palantir_memory_ended_exchanges",
        "Exchanges that were ended because memory was short, those first whose bytes nobody took",
        sum(WorkerGauges::ended_exchanges),
    )
}

/// When certificates end, and when their OCSP responses are superseded. If two certificates have the same name, such as
/// two kinds of keys, the earlier time counts.
fn encode_certificates(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    let mut ends: BTreeMap<(String, &str), i64> = BTreeMap::new();
    let mut staples: BTreeMap<(String, &str), i64> = BTreeMap::new();
    let listeners = snapshot.listeners.iter();
    let listeners = listeners.map(|listener| (&listener.addr, &listener.tls));
    let admin = snapshot.admin.iter();
    let admin = admin.map(|admin| (&admin.listen_addr, &snapshot.admin_tls));
    for (addr, tls) in listeners.chain(admin) {
        for pair in tls.iter().flat_map(|tls| &tls.certificates) {
            let place = (addr.to_string(), pair.name());
            if let Some(superseded) = pair.staple_ends {
                let end = staples.entry(place.clone()).or_insert(superseded);
                *end = superseded.min(*end);
            }
            let end = ends.entry(place).or_insert(pair.not_after);
            *end = pair.not_after.min(*end);
        }
    }
    let now = unix_secs_of(SystemTime::now());
    page.gauges(
        "palantir_ocsp_next_update_seconds",
        "Seconds until the OCSP response of a listener's certificate is superseded and no longer stapled; below 0 once it is",
        left(&staples, now),
    )?;
    page.gauges(
        "palantir_certificate_expiry_seconds",
        "Seconds until a listener's certificate, or one of those that vouch for it, expires; below 0 once it has",
        left(&ends, now),
    )
}

/// The seconds that are left for each of these times.
fn left<'t>(
    ends: &'t BTreeMap<(String, &str), i64>,
    now: i64,
) -> impl Iterator<Item = (Labels<'t, 2>, i64)> {
    ends.iter().map(move |((listener, name), end)| {
        let labels = [("listener", listener.as_str()), ("name", *name)];
        (labels, end - now)
    })
}

/// How orders of certificates ended, where there are any to be made.
fn encode_orders(page: &mut Page<'_>, sources: &Sources, in_force: &InForce) -> fmt::Result {
    if in_force.config.settings.acme.is_none() {
        return Ok(());
    }
    let counts = sources.orders.counts();
    page.counters(
        "palantir_certificate_orders",
        "Orders of certificates that ended, by how",
        counts.map(|(result, count)| ([("result", result)], count)),
    )
}

/// The operations that palantir itself wants and could not do yet.
fn encode_pending(page: &mut Page<'_>, sources: &Sources) -> fmt::Result {
    let rows = OPERATIONS.map(|(operation, name)| {
        let is_wanted = u64::from(sources.wanted.is_wanted(operation));
        ([("operation", name)], is_wanted)
    });
    page.gauges(
        "palantir_pending_operation",
        "1 while palantir itself wants this operation and cannot do it yet; the log has the reason",
        rows,
    )
}

/// Everything per worker.
fn encode_workers(page: &mut Page<'_>, sources: &Sources) -> fmt::Result {
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
        "Requests that ended, by the status that the client was answered",
        requests,
    )?;
    page.gauges(
        "palantir_requests_in_flight",
        "Requests under way",
        each(|gauges| gauges.exchanges().into()),
    )?;
    page.gauges(
        "palantir_client_connections",
        "Open client connections",
        each(|gauges| gauges.connections().into()),
    )?;
    page.counters(
        "palantir_client_connections_accepted",
        "Accepted client connections",
        each(WorkerGauges::accepted),
    )?;
    page.gauges(
        "palantir_clients_waiting",
        "Clients that were accepted and wait because no more clients may be connected; further ones may wait in the system's queues",
        each(WorkerGauges::waiting),
    )?;
    page.counters(
        "palantir_accept_pauses",
        "How often accepting has paused because no more clients might be connected, or for want of descriptors or memory",
        each(WorkerGauges::paused),
    )?;
    page.counters(
        "palantir_worker_operations",
        "Operations submitted to the ring",
        each(WorkerGauges::operations),
    )?;
    let waits =
        workers().filter_map(|(labels, gauges)| Some((labels, thread_waits(gauges.thread()?)?)));
    page.counters(
        "palantir_worker_waits",
        "How often the worker had nothing to do and slept",
        waits,
    )?;
    let cpu = workers()
        .filter_map(|(labels, gauges)| Some((labels, thread_cpu_seconds(gauges.thread()?)?)));
    page.counters(
        "palantir_worker_cpu_seconds",
        "CPU time that the worker used, in seconds",
        cpu,
    )?;
    let lags = workers().map(|(labels, gauges)| (labels, gauges.loop_lag()));
    page.histograms(
        "palantir_worker_loop_lag_seconds",
        "How late the worker's loop came to what was due, ten times a second",
        lags,
    )
}

/// The lines that the access log and the program's log lost.
fn encode_logs(page: &mut Page<'_>, sources: &Sources) -> fmt::Result {
    let workers: Vec<String> = (0..sources.gauges.len()).map(|n| n.to_string()).collect();
    let rings = workers.iter().zip(sources.gauges.iter());
    let rings = rings.map(|(worker, gauges)| {
        let labels = [("worker", worker.as_str()), ("reason", "full_ring")];
        (labels, gauges.lost_lines())
    });
    // The worker of these lines is no longer known; an empty label counts as an absent one.
    let labels = [("worker", ""), ("reason", "failed_write")];
    let failed = (labels, sources.access_log.lost_lines());
    page.counters(
        "palantir_access_log_lost_lines",
        "Access-log lines that were lost: the ring of their worker was full, or a write to the file failed",
        rings.chain([failed]),
    )?;
    let is_stalled = sources.access_log.is_stalled(Micros::now());
    page.gauge(
        "palantir_access_log_stalled",
        "1 while an operation on the file of the access log does not end",
        Some(u64::from(is_stalled)),
    )?;
    page.counters(
        "palantir_log_lost_lines",
        "Lines of the program's log that could not be written to standard error",
        [([], log::lost_lines())],
    )
}

/// Everything per route that a request has taken.
fn encode_routes(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
    let used = snapshot
        .routes
        .iter()
        .filter(|route| route.counts.iter().next().is_some());
    let routes: Vec<(&str, RouteTotals)> = used
        .map(|route| (route.name.as_str(), route.counts.totals()))
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
        "Requests of the route that ended, by the status that the client was answered",
        requests,
    )?;
    let failures = routes.iter().flat_map(|(name, totals)| {
        failures_of(&totals.failures)
            .map(move |(word, count)| ([("route", *name), ("reason", word)], count))
    });
    page.counters(
        "palantir_route_failures",
        "Requests of the route that palantir answered or cut itself, by reason",
        failures,
    )?;
    page.counters(
        "palantir_route_retries",
        "Requests of the route that were sent once more",
        each(|totals| totals.retries),
    )?;
    page.counters(
        "palantir_route_request_bytes",
        "Bytes of request bodies",
        each(|totals| totals.request_bytes),
    )?;
    page.counters(
        "palantir_route_response_bytes",
        "Bytes of response bodies",
        each(|totals| totals.response_bytes),
    )?;
    page.gauges(
        "palantir_route_requests_in_flight",
        "Requests of the route under way",
        each(|totals| totals.in_flight),
    )?;
    let times = routes
        .iter()
        .map(|(name, totals)| ([("route", *name)], totals.response_times.clone()));
    page.histograms(
        "palantir_route_response_seconds",
        "From a request's first byte until its answer begins",
        times,
    )
}

/// What is counted per pool; the rest is the sum over its backends.
fn encode_pools(page: &mut Page<'_>, sources: &Sources, snapshot: &Snapshot) -> fmt::Result {
    let waiting = snapshot
        .pools
        .iter()
        .map(|pool| ([("pool", pool.name.as_str())], pool.counts.waiting()));
    page.gauges(
        "palantir_pool_waiting_requests",
        "Requests that wait for a connection to become free",
        waiting,
    )?;
    let panics = snapshot.pools.iter().map(|pool| {
        let labels = [("pool", pool.name.as_str())];
        (labels, u64::from(sources.panics(pool)))
    });
    page.gauges(
        "palantir_pool_panic",
        "1 while fewer backends of the pool are healthy than panic_threshold says, so that all take requests",
        panics,
    )
}

/// A backend with its counts.
struct Counted<'a> {
    pool: &'a Pool,
    backend: &'a Backend,
    totals: BackendTotals,
}

impl<'a> Counted<'a> {
    fn all(snapshot: &'a Snapshot) -> Vec<Counted<'a>> {
        let pools = snapshot.pools.iter();
        pools
            .flat_map(|pool| {
                pool.backends.iter().map(move |backend| Counted {
                    pool,
                    backend,
                    totals: backend.slot.counts().totals(),
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

/// What the workers count of backends.
fn encode_backend_counts(page: &mut Page<'_>, backends: &[Counted<'_>]) -> fmt::Result {
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
        "Answers of the backend, by status",
        answers,
    )?;
    let failures = backends.iter().flat_map(|counted| {
        failures_of(&counted.totals.failures)
            .map(move |(word, count)| (counted.labels_and("reason", word), count))
    });
    page.counters(
        "palantir_backend_failures",
        "Attempts that failed by the backend's fault, by reason",
        failures,
    )?;
    page.counters(
        "palantir_backend_request_bytes",
        "Bytes of request bodies",
        each(|totals| totals.request_bytes),
    )?;
    page.counters(
        "palantir_backend_response_bytes",
        "Bytes of response bodies",
        each(|totals| totals.response_bytes),
    )?;
    let times = backends
        .iter()
        .filter(|counted| counted.totals.response_times.count() > 0)
        .map(|counted| (counted.labels(), counted.totals.response_times.coarse()));
    page.histograms(
        "palantir_backend_response_seconds",
        "From the sending of a request until its answer begins",
        times,
    )?;
    let times = backends
        .iter()
        .filter(|counted| counted.totals.connect_times.count() > 0)
        .map(|counted| (counted.labels(), counted.totals.connect_times.clone()));
    page.histograms(
        "palantir_backend_connect_seconds",
        "How long it took to connect",
        times,
    )
}

/// What backends are like at the moment, and how they came to be so.
fn encode_backend_states(
    page: &mut Page<'_>,
    sources: &Sources,
    backends: &[Counted<'_>],
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
        "1 for the state that the backend is in, 0 for the others",
        states,
    )?;
    let (now, wall) = (Micros::now(), std::time::SystemTime::now());
    let since = backends.iter().map(|counted| {
        let since = counted.backend.slot.counts().changes.since();
        (counted.labels(), unix_secs(since, now, wall))
    });
    page.gauges(
        "palantir_backend_state_changed_timestamp_seconds",
        "Since when it has been in it, in seconds since 1970",
        since,
    )?;
    let transitions = backends.iter().flat_map(|counted| {
        let changes = &counted.backend.slot.counts().changes;
        BackendState::ALL
            .into_iter()
            .map(move |to| (counted.labels_and("to", to.word()), changes.to(to)))
    });
    page.counters(
        "palantir_backend_transitions",
        "Changes of the backend's state, by the new one; to ejected: its ejections",
        transitions,
    )?;
    page.gauges(
        "palantir_backend_weight",
        "Its weight in the balancing",
        each(&|backend| backend.weight.into()),
    )?;
    page.gauges(
        "palantir_backend_requests_in_flight",
        "Requests under way at the backend, each on a connection of its own",
        each(&|backend| tables.in_flight(backend.id()).into()),
    )?;
    page.gauges(
        "palantir_backend_idle_connections",
        "Connections kept for the next request",
        each(&|backend| tables.idle(backend.id()).into()),
    )
}

/// The groups of failures that there were.
fn failures_of(failures: &PerGroup<u64>) -> impl Iterator<Item = (&'static str, u64)> {
    let counted = failures
        .0
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0);
    counted.map(|(group, count)| (group_label(group), *count))
}
