//! The metrics, with their names and meanings. Every label's values come from the configuration or from a fixed list,
//! never from a request.
//!
//! Routes that no request has taken yet, reasons for which nothing of a route or backend has failed yet, and times of
//! backends that have answered nothing yet are left out: with ten thousand routes or a thousand backends they would be
//! most of the text.

mod backends;
mod cache;
mod certificates;
mod page;
mod process;
mod routes;
mod workers;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use self::backends::{CountedBackend, encode_backend_counters, encode_backend_states};
use self::cache::{encode_route_caches, encode_store};
use self::certificates::{encode_certificates, encode_orders};
use self::page::Page;
use self::process::{encode_logs, encode_memory, encode_process};
use self::routes::{encode_pools, encode_routes};
use self::workers::encode_workers;
use super::Sources;
use crate::control::change_request::InForce;
use crate::control::pending::PENDING_OPERATIONS;
use crate::shared::connection_failure::{CONNECTION_FAILURES, CONNECTION_REASONS};
use crate::shared::failure::{FAILURES, REASONS, group_label};
use crate::shared::route_counters::PerGroup;

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
        encode_route_caches(&mut page, &in_force.snapshot)?;
        encode_store(&mut page, sources)?;
        encode_pools(&mut page, sources, &in_force.snapshot)?;
        let backends = CountedBackend::all(&in_force.snapshot);
        encode_backend_counters(&mut page, &backends)?;
        encode_backend_states(&mut page, sources, &backends)
    }
}

/// Palantir as a whole.
fn encode_whole(page: &mut Page<'_>, sources: &Sources, in_force: &InForce) -> fmt::Result {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauges(
        "palantir_build_info",
        "1 for the version of palantir that runs",
        [(version, 1u64)],
    )?;
    page.gauge(
        "palantir_config_revision",
        "Number of the revision of the configuration in force",
        Some(in_force.revision),
    )?;
    page.gauge(
        "palantir_generations",
        "Configurations in use: the one in force, and each earlier one with a request that began under it and still \
         runs",
        Some(sources.generations.get()),
    )?;
    page.gauge(
        "palantir_look_ups_hanging",
        "Look-ups of host names that have had no answer for 5 seconds; each of them keeps a thread",
        Some(sources.hanging_look_ups.get()),
    )?;
    page.gauge(
        "palantir_client_connections_limit",
        "Client connections that all listeners together may have open",
        Some(in_force.snapshot.most_clients() as u64),
    )?;
    let draining = Some(u64::from(in_force.draining));
    page.gauge(
        "palantir_draining",
        "1 from the beginning of a stop, else 0",
        draining,
    )?;
    let mut reasons = [0; REASONS];
    for counters in sources.counters.iter() {
        let counted = reasons.iter_mut().zip(counters.reasons());
        counted.for_each(|(sum, count)| *sum += count);
    }
    let rows = FAILURES.iter().zip(reasons).map(|(row, count)| {
        let labels = [("reason", row.label), ("fault", row.fault.label())];
        (labels, count)
    });
    page.counters(
        "palantir_failures",
        "Requests that palantir answered with an error of its own or cut, by reason and by the side at fault",
        rows,
    )?;
    let mut ended = [0; CONNECTION_REASONS];
    for counters in sources.counters.iter() {
        let counted = ended.iter_mut().zip(counters.connection_failures());
        counted.for_each(|(sum, count)| *sum += count);
    }
    let rows = CONNECTION_FAILURES.iter().zip(ended);
    page.counters(
        "palantir_connection_failures",
        "Client connections that palantir ended because of what the client sent before or beside its requests, by \
         reason",
        rows.map(|(row, count)| ([("reason", row.label)], count)),
    )
}

/// The operations that palantir itself wants and could not do yet.
fn encode_pending(page: &mut Page<'_>, sources: &Sources) -> fmt::Result {
    let rows = PENDING_OPERATIONS.map(|(operation, name)| {
        let is_wanted = u64::from(sources.wanted.is_wanted(operation));
        ([("operation", name)], is_wanted)
    });
    page.gauges(
        "palantir_pending_operation",
        "1 while palantir has to repeat this operation because it could not be done yet, else 0; the log has the \
         reason",
        rows,
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
