//! Certificates and keys that are renewed while palantir runs: their files are looked at every few seconds, and a change
//! for the better comes into force like any other, for the connections that begin from then on. What is wrong with a
//! change for the worse is logged, and everything stays as it was.

use std::path::PathBuf;
use std::time::Duration;

use tracing::error;

use crate::base::file::Stamp;
use crate::base::limits;
use crate::base::time::Micros;
use crate::config::Config;
use crate::control::Control;
use crate::control::change::Looked;
use crate::control::pending::Operation;
use crate::snapshot::Snapshot;

/// The files that certificates, keys and authorities come from, as they were when they were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileStamps(Vec<(PathBuf, Option<Stamp>)>);

impl FileStamps {
    /// Of the files that a configuration names, now.
    pub fn of(config: &Config) -> FileStamps {
        let files = config.tls_files().into_iter();
        FileStamps(files.map(|path| (path.clone(), Stamp::of(&path))).collect())
    }
}

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct FileWatch {
    due: Micros,
    /// As they were before they were last read.
    pub seen: FileStamps,
}

impl FileWatch {
    /// Whether it is time to look at them; the next time begins then.
    pub fn is_due(&mut self, now: Micros) -> bool {
        let is_due = self.due <= now;
        if is_due {
            self.due = now.after(Duration::from_secs(limits::FILE_WATCH_SECS));
        }
        is_due
    }
}

impl Control {
    /// Takes over what has changed about them.
    pub(super) fn take_looked(&mut self, looked: Looked, now: Micros) {
        if let Some(Err(problem)) = looked.ready {
            return self.retry_files(&problem.to_string(), now);
        }
        self.file_watch.seen = looked.stamps;
        self.pending.settle(Operation::TlsFiles);
        match looked.ready {
            None | Some(Err(_)) => {}
            Some(Ok(ready)) if has_same_tls(&self.snapshot, &ready.snapshot) => {}
            Some(Ok(ready)) => {
                self.put_in_force(ready);
                self.publish();
            }
        }
    }

    /// They are looked at again in a moment: the reason may be none of the files.
    fn retry_files(&mut self, why: &str, now: Micros) {
        self.file_watch.due = now.after(Duration::from_secs(limits::OWN_RETRY_SECS));
        if self.pending.note_refusal(Operation::TlsFiles, why, now) {
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
