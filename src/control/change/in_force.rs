//! The configuration in force: how a compiled snapshot is put in force, and how the snapshot follows changed addresses
//! of names and changed files of TLS.

use std::collections::BTreeSet;

use tracing::{error, info};

use super::Ready;
use super::prepare::NewLog;
use crate::base::time::Micros;
use crate::control::Control;
use crate::control::pending::PendingOperation;
use crate::snapshot::Snapshot;

impl Control {
    /// Puts known addresses in force that the snapshot in force lacks.
    pub(in crate::control) fn follow_addresses(&mut self, now: Micros) {
        self.changes
            .pending
            .note_try(PendingOperation::Addresses, now);
        let present = self.present();
        self.on_files(now, move |compiler, job| {
            let ready = present.with_addresses(compiler, job);
            drop(present);
            Box::new(move |control, now| match ready {
                Ok(ready) => {
                    control.changes.pending.settle(PendingOperation::Addresses);
                    log_difference(&control.config.snapshot, &ready.snapshot);
                    control.put_in_force(ready);
                    control.publish();
                }
                Err(problem) => {
                    let why = problem.to_string();
                    if control
                        .changes
                        .pending
                        .note_refusal(PendingOperation::Addresses, &why, now)
                    {
                        error!("the new addresses cannot be used; the old ones stay: {why}");
                    }
                }
            })
        });
    }

    /// Looks at the files of TLS, and puts in force what has changed in them.
    pub(in crate::control) fn look_at_files(&mut self, now: Micros) {
        let (present, tickets) = (self.present(), self.certificates.tickets.clone());
        self.on_files(now, move |compiler, job| {
            let looked = present.look_at_files(compiler, job, &tickets);
            drop(present);
            Box::new(move |control, now| control.take_looked(looked, now))
        });
    }

    /// Puts a prepared snapshot in force: all threads are told, and sockets that are no longer listened on are closed.
    pub(in crate::control) fn put_in_force(&mut self, ready: Ready) {
        self.certificates.file_watch.seen = ready.snapshot.files.clone();
        self.names.in_force = ready.addresses;
        debug_assert!(
            ready.snapshot.generation > self.config.snapshot.generation,
            "a configuration replaces an older one"
        );
        debug_assert_eq!(
            ready.sockets.len(),
            self.config.snapshot.workers,
            "each worker gets its sockets"
        );
        let before = std::mem::replace(&mut self.config.snapshot, ready.snapshot);
        for addr in ready.added.addrs() {
            if let Some(listener) = self.config.snapshot.listener(addr) {
                info!("listening on {listener}");
            }
        }
        self.listeners.add(ready.added);
        let gone = self
            .listeners
            .keep_only(&self.config.snapshot.listen_addrs());
        for addr in gone.addrs() {
            info!("no longer listening on {addr}");
        }
        gone.close();
        if let NewLog::Instead(file) = ready.access_log {
            self.access_log.set_file(file);
        }
        self.access_log.learn(&self.config.snapshot);
        self.threads
            .put_in_force(before, &self.config.snapshot, ready.sockets);
    }

    /// Shows the configuration in force to tasks that only read it.
    pub(in crate::control) fn publish(&self) {
        let shutdown = &self.shutdown;
        let (draining, retired) = (shutdown.has_begun(), shutdown.has_retired());
        self.config.publish(draining, retired);
    }
}

/// Logs which backends were added and removed.
fn log_difference(before: &Snapshot, after: &Snapshot) {
    let (before, after) = (backends(before), backends(after));
    for (pool, backend) in after.difference(&before) {
        info!(
            pool,
            backend, "a backend was added, because its name resolves to this address now"
        );
    }
    for (pool, backend) in before.difference(&after) {
        info!(
            pool,
            backend, "a backend was removed, because its name no longer resolves to this address"
        );
    }
}

fn backends(snapshot: &Snapshot) -> BTreeSet<(&str, &str)> {
    let pools = snapshot.pools.iter();
    pools
        .flat_map(|pool| {
            pool.backends
                .iter()
                .map(|backend| (pool.name.as_str(), backend.label.as_str()))
        })
        .collect()
}
