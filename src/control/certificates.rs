//! Certificates and keys while palantir runs: the files that are watched, the keys of session tickets, and the
//! certificates that palantir orders.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;
use crate::control::acme::{OrderCounters, WantedCertificates};
use crate::control::file_watch::FileWatch;
use crate::tls::{FilesRead, TicketKeys};

/// Everything about certificates that changes without a change of the configuration.
pub(super) struct Certificates {
    /// The keys of session tickets.
    pub tickets: Arc<TicketKeys>,
    /// The watch over the files.
    pub file_watch: FileWatch,
    /// The certificates that are ordered and renewed.
    pub wanted: watch::Sender<WantedCertificates>,
    /// The results of the orders so far.
    pub orders: Arc<OrderCounters>,
}

impl Certificates {
    /// The certificates of this configuration, whose files were read at the start.
    pub fn new(config: &Config, files: FilesRead, tickets: Arc<TicketKeys>) -> Certificates {
        Certificates {
            tickets,
            file_watch: FileWatch::new(files),
            wanted: watch::Sender::new(WantedCertificates::of(config)),
            orders: Arc::default(),
        }
    }

    /// Has the certificates ordered that this configuration asks for.
    pub fn follow(&self, config: &Config) {
        let wanted = WantedCertificates::of(config);
        self.wanted.send_if_modified(|followed| {
            let is_new = *followed != wanted;
            *followed = wanted;
            is_new
        });
    }

    /// Orders no more certificates: nobody will be there to answer an authority.
    pub fn stop_orders(&self) {
        self.wanted.send_replace(WantedCertificates::default());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn config(acme: &str) -> Config {
        let text = format!("[[pools]]\nname = \"api\"\nbackends = [\"127.0.0.1:1\"]\n{acme}");
        config::parse(Path::new("test.toml"), text).unwrap()
    }

    #[test]
    fn only_other_wishes_wake_the_task_that_orders() {
        let certificates = Certificates::new(&config(""), FilesRead::default(), Arc::default());
        let mut wanted = certificates.wanted.subscribe();
        certificates.follow(&config(""));
        assert!(!wanted.has_changed().unwrap());
        certificates.stop_orders();
        assert!(wanted.has_changed().unwrap());
        assert_eq!(*wanted.borrow_and_update(), WantedCertificates::default());
    }
}
