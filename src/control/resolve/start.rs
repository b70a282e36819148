//! The look-ups of a start, which waits for them as briefly as possible.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::timeout;
use tracing::warn;

use super::{KnownAddrs, LookUps, WatchedNames};
use crate::base::limits;
use crate::base::time::Micros;
use crate::config::Resolved;

/// Begins to look `names` up, and waits a moment for names without addresses in `known`. Returns the look-ups, which go
/// on, and the addresses that are known now. Blocks for [`limits::START_RESOLVE_MILLIS`] at most. Errors: no
/// descriptors are left.
pub fn begin(names: &WatchedNames, known: Resolved) -> io::Result<(LookUps, KnownAddrs)> {
    begin_by(LookUps::default(), names, known)
}

fn begin_by(
    mut look_ups: LookUps,
    names: &WatchedNames,
    mut resolved: Resolved,
) -> io::Result<(LookUps, KnownAddrs)> {
    resolved.retain(|host, _| names.hosts.contains(host));
    look_ups.follow(names, &BTreeSet::new(), Micros::now());
    look_ups.know(resolved.keys().cloned());
    let hosts = names
        .hosts
        .iter()
        .filter(|host| !resolved.contains_key(*host));
    let mut missing: BTreeSet<String> = hosts.cloned().collect();
    let mut known = KnownAddrs::default();
    known.take_in(
        resolved
            .into_iter()
            .map(|(host, ips)| (host, Ok(ips)))
            .collect(),
    );
    if !missing.is_empty() {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let most = Duration::from_millis(limits::START_RESOLVE_MILLIS);
        let wait = wait_for(&mut look_ups, &mut missing, &mut known);
        let _ = runtime.block_on(async { timeout(most, wait).await });
    }
    if let Some(first) = missing.first() {
        let count = missing.len();
        warn!(
            name = first,
            count, "names have no answer yet: their backends are down until they resolve"
        );
    }
    Ok((look_ups, known))
}

/// Waits until all missing names have an answer.
async fn wait_for(look_ups: &mut LookUps, missing: &mut BTreeSet<String>, known: &mut KnownAddrs) {
    let mut told = look_ups.step(Micros::now());
    loop {
        for (host, _) in &told {
            missing.remove(host);
        }
        known.take_in(told);
        if missing.is_empty() {
            return;
        }
        let ended = look_ups.ended().await;
        let answer = look_ups.note(ended, Micros::now());
        told = look_ups.step(Micros::now());
        told.extend(answer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    fn names(hosts: Vec<String>) -> WatchedNames {
        WatchedNames {
            hosts,
            every: Duration::from_secs(60),
        }
    }

    #[test]
    fn names_are_looked_up_and_those_that_do_not_exist_are_absent() {
        // A label longer than 63 bytes cannot be sent in a query (RFC 1035 section 2.3.4), so that the test needs no
        // name server.
        let mut hosts = vec!["localhost".to_owned()];
        hosts.push("x".repeat(64));
        let (_, known) = begin(&names(hosts), Resolved::new()).unwrap();
        assert!(known.resolved().len() <= 1, "{known:?}");
        let localhost = known.resolved().get("localhost").into_iter().flatten();
        assert!(localhost.clone().all(|ip| ip.is_loopback()));
    }

    #[test]
    fn a_start_waits_a_moment_for_what_it_does_not_know() {
        let look_ups = || {
            LookUps::by(Arc::new(|_| {
                loop {
                    std::thread::park();
                }
            }))
        };
        let hosts: Vec<String> = (0..200).map(|number| format!("dead{number}")).collect();
        let known: Resolved = hosts
            .iter()
            .map(|host| (host.clone(), vec![[192, 0, 2, 1].into()]))
            .collect();
        let before = Instant::now();
        let (_, found) = begin_by(look_ups(), &names(hosts.clone()), known.clone()).unwrap();
        assert_eq!(*found.resolved(), known);
        let at_once = before.elapsed();
        let (_, found) = begin_by(look_ups(), &names(hosts.clone()), Resolved::new()).unwrap();
        assert_eq!(*found.resolved(), Resolved::new());
        assert_eq!(
            found.missing(hosts).len(),
            200,
            "nothing is known of them yet"
        );
        let most = Duration::from_millis(limits::START_RESOLVE_MILLIS);
        assert!(before.elapsed() - at_once >= most);
    }
}
