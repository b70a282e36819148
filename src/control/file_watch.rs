//! Certificates and keys that are renewed while palantir runs. Palantir looks at their files every few seconds. A
//! change without mistakes comes into force like any other, for the connections that begin from then on. The mistakes
//! of any other change are logged, and everything stays as it was.

use std::time::Duration;

use tracing::error;

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::Control;
use crate::control::change::Looked;
use crate::control::pending::PendingOperation;
use crate::snapshot::Snapshot;
use crate::tls::FilesRead;

/// The state of the files at the last look.
#[derive(Debug)]
pub(super) struct FileWatch {
    /// When the files are looked at next.
    due: Micros,
    /// The files as they were before they were last read.
    pub seen: FilesRead,
    /// Why the keys of session tickets could not be stored at the last look, so that the reason is logged once.
    told_of_tickets: Option<String>,
}

impl FileWatch {
    /// The watch over the files as they were read at the start.
    pub fn new(seen: FilesRead) -> FileWatch {
        FileWatch {
            due: Micros::default(),
            seen,
            told_of_tickets: None,
        }
    }

    /// Whether it is time to look at the files. If it is, the time until the next look begins.
    pub fn is_due(&mut self, now: Micros) -> bool {
        let is_due = self.due <= now;
        if is_due {
            self.due = now.after(Duration::from_secs(limits::FILE_WATCH_SECS));
        }
        is_due
    }
}

impl Control {
    /// Puts in force what a look at the files has found changed.
    pub(super) fn take_looked(&mut self, looked: Looked, now: Micros) {
        let watch = &mut self.certificates.file_watch;
        if let Some(why) = looked.tickets.as_ref()
            && looked.tickets != watch.told_of_tickets
        {
            error!("TLS tickets that are issued now may be invalid after a restart: {why}");
        }
        watch.told_of_tickets = looked.tickets;
        if let Some(Err(problem)) = looked.ready {
            return self.retry_files(&problem.to_string(), now);
        }
        self.changes.pending.settle(PendingOperation::TlsFiles);
        match looked.ready {
            None | Some(Err(_)) => {}
            Some(Ok(ready)) if has_same_tls(&self.config.snapshot, &ready.snapshot) => {
                self.certificates.file_watch.seen = ready.snapshot.files.clone();
            }
            Some(Ok(ready)) => {
                self.put_in_force(ready);
                self.publish();
            }
        }
    }

    /// Has the files looked at again soon, because the reason may lie outside the files.
    fn retry_files(&mut self, why: &str, now: Micros) {
        self.certificates.file_watch.due = now.after(Duration::from_secs(limits::OWN_RETRY_SECS));
        if self
            .changes
            .pending
            .note_refusal(PendingOperation::TlsFiles, why, now)
        {
            error!("the new files of TLS cannot be used: {why}");
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
