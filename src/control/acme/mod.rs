//! Certificates that palantir orders itself (ACME, RFC 8555), and renews. Nothing of it stops a start or a request:
//! what is in the folder is served, and what is missing there is ordered until it is given.
//!
//! A new certificate comes into force like any other whose file has changed: see `file_watch`. Here nothing is known of
//! workers but the challenges that they answer.

mod authority;
mod client;
mod disk;
mod order;
mod orders;
mod outcome;
mod schedule;
mod store;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

pub use outcome::OrderCounters;

use crate::config::{AcmeSettings, Config};
use crate::control::acme::authority::Authority;
use crate::control::acme::disk::Disk;
use crate::control::acme::orders::CertificateOrders;
use crate::tls::Challenges;

/// The certificates that a configuration wants to have ordered; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedCertificates {
    settings: Option<AcmeSettings>,
    names: BTreeSet<String>,
}

impl WantedCertificates {
    /// The certificates of this configuration.
    pub fn of(config: &Config) -> WantedCertificates {
        let listeners = config.settings.listeners.iter();
        let tls = listeners.filter_map(|listener| listener.tls.as_ref());
        let acme = config.settings.acme.as_ref();
        WantedCertificates {
            settings: acme.map(|acme| acme.settings.clone()),
            names: tls.flat_map(|tls| tls.automatic.clone()).collect(),
        }
    }
}

/// Orders what is wanted, and renews it, until nobody wants to know. Names may come and go; with another authority all
/// begins anew.
pub async fn order_forever(
    mut wanted: watch::Receiver<WantedCertificates>,
    challenges: Arc<Challenges>,
    counters: Arc<OrderCounters>,
) {
    let mut orders: Option<CertificateOrders> = None;
    let mut disk: Option<Arc<Disk>> = None;
    loop {
        let WantedCertificates { settings, names } = wanted.borrow_and_update().clone();
        orders = settings.map(|settings| match orders.take() {
            Some(orders) if orders.are_of(&settings) => orders,
            _ => {
                let disk = disk.get_or_insert_with(|| Arc::new(Disk::start()));
                let authority = Authority::new(settings, challenges.clone(), disk.clone());
                CertificateOrders::new(authority, counters.clone())
            }
        });
        if let Some(orders) = &mut orders {
            orders.want(names);
        }
        tokio::select! {
            () = keep_all(&mut orders) => {}
            changed = wanted.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Never ends. May be dropped while it waits.
async fn keep_all(orders: &mut Option<CertificateOrders>) {
    match orders {
        Some(orders) => orders.keep().await,
        None => std::future::pending().await,
    }
}
