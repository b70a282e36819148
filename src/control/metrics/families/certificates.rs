//! The metrics of certificates: when they end, and how orders of new ones have ended.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use super::page::{Labels, Page};
use crate::control::change_request::InForce;
use crate::control::metrics::Sources;
use crate::snapshot::Snapshot;
use crate::tls::unix_secs;

/// When certificates end, and when their OCSP responses are superseded. If two certificates have the same name, such as
/// two kinds of keys, the earlier time counts.
pub(super) fn encode_certificates(page: &mut Page<'_>, snapshot: &Snapshot) -> fmt::Result {
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
    let now = unix_secs(SystemTime::now());
    page.gauges(
        "palantir_ocsp_next_update_seconds",
        "Seconds until the OCSP response of a listener's certificate is superseded and no longer stapled; negative \
         after that time",
        left(&staples, now),
    )?;
    page.gauges(
        "palantir_certificate_expiry_seconds",
        "Seconds until a listener's certificate, or a certificate of its chain, expires; negative after that time",
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
pub(super) fn encode_orders(
    page: &mut Page<'_>,
    sources: &Sources,
    in_force: &InForce,
) -> fmt::Result {
    if in_force.config.settings.acme.is_none() {
        return Ok(());
    }
    let counters = sources.orders.counters();
    page.counters(
        "palantir_certificate_orders",
        "Orders of certificates that have ended, by result",
        counters.map(|(result, count)| ([("result", result)], count)),
    )
}
