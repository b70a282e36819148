//! Certificates and keys that are renewed while palantir runs: their files are looked at every few seconds, and a change
//! for the better comes into force like any other, for the connections that begin from then on. What is wrong with a
//! change for the worse is logged, and everything stays as it was.

use std::time::{Duration, SystemTime};

use tracing::error;

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::Control;
use crate::snapshot::Snapshot;
use crate::tls::FilesRead;

/// What is known of the files.
#[derive(Debug)]
pub(super) struct FileWatch {
    due: Micros,
    /// As they were before they were last read.
    pub seen: FilesRead,
    /// Why what has changed could not be used at the last look, so that it is logged once.
    told: Option<String>,
    /// Why the keys of tickets could not be kept, likewise.
    told_of_tickets: Option<String>,
}

impl FileWatch {
    /// For what was read at the start.
    pub fn new(seen: FilesRead) -> FileWatch {
        FileWatch {
            due: Micros::default(),
            seen,
            told: None,
            told_of_tickets: None,
        }
    }
}

impl Control {
    /// Takes over what has changed, and makes the keys of tickets anew, if it is time to look.
    pub(super) fn watch_files(&mut self, now: Micros) {
        if now < self.file_watch.due || self.shutdown.has_begun() || !self.may_decide() {
            return;
        }
        self.file_watch.due = now.after(Duration::from_secs(limits::FILE_WATCH_SECS));
        let why = self.tickets.renew(SystemTime::now()).err();
        if let Some(why) = why
            .as_ref()
            .filter(|_| why != self.file_watch.told_of_tickets)
        {
            error!("TLS tickets of now may not be good after a restart: {why}");
        }
        self.file_watch.told_of_tickets = why;
        if self.have_files_changed() {
            self.take_changed_files();
        }
    }

    /// Whether the files of certificates are others than those that were read, or one that could not be read can be now.
    pub(super) fn have_files_changed(&self) -> bool {
        self.file_watch.seen.have_changed()
    }

    /// What cannot be used now is tried again at the next look.
    fn take_changed_files(&mut self) {
        let config = self.desk.config().clone();
        match self.compile_and_bind(&config) {
            Ok(ready) => {
                self.file_watch.told = None;
                if has_same_tls(&self.snapshot, ready.snapshot()) {
                    self.file_watch.seen = ready.snapshot().files.clone();
                } else {
                    self.put_in_force(ready);
                    self.publish();
                }
            }
            Err(problem) => {
                let why = problem.to_string();
                if self.file_watch.told.as_ref() != Some(&why) {
                    error!(error = why, "the new files of TLS cannot be used");
                    self.file_watch.told = Some(why);
                }
            }
        }
    }
}

/// Whether two snapshots of one configuration use the very same TLS.
fn has_same_tls(before: &Snapshot, after: &Snapshot) -> bool {
    let servers = |snapshot: &Snapshot| -> Vec<_> {
        let listeners = snapshot.listeners.iter();
        let tls = listeners.filter_map(|listener| listener.tls.as_ref());
        let tls = tls.chain(&snapshot.admin_tls);
        tls.map(|tls| std::sync::Arc::as_ptr(&tls.config)).collect()
    };
    let clients = |snapshot: &Snapshot| -> Vec<_> {
        let tls = snapshot.pools.iter().filter_map(|pool| pool.tls.as_ref());
        tls.map(|tls| std::sync::Arc::as_ptr(&tls.config)).collect()
    };
    servers(before) == servers(after) && clients(before) == clients(after)
}
