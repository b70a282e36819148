//! The configuration in force: how a compiled snapshot is put in force, and how the snapshot follows changed addresses
//! of names and changed files of TLS.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::{error, info};

use super::Ready;
use super::prepare::NewLog;
use crate::base::time::Micros;
use crate::control::Control;
use crate::control::acme::Wanted;
use crate::control::ask::InForce;
use crate::control::pending::Operation;
use crate::control::resolve::Names;
use crate::snapshot::Snapshot;

impl Control {
    /// Puts known addresses in force that the snapshot in force lacks.
    pub(in crate::control) fn follow_addresses(&mut self, now: Micros) {
        self.pending.note_try(Operation::Addresses, now);
        let present = self.present();
        self.on_files(now, move |compile, job| {
            let ready = present.with_addresses(compile, job);
            drop(present);
            Box::new(move |control, now| match ready {
                Ok(ready) => {
                    control.pending.settle(Operation::Addresses);
                    log_difference(&control.snapshot, &ready.snapshot);
                    control.put_in_force(ready);
                    control.publish();
                }
                Err(problem) => {
                    let why = problem.to_string();
                    if control
                        .pending
                        .note_refusal(Operation::Addresses, &why, now)
                    {
                        error!("the new addresses cannot be used; the old ones stay: {why}");
                    }
                }
            })
        });
    }

    /// Looks at the files of TLS, and puts in force what has changed in them.
    pub(in crate::control) fn look_at_files(&mut self, now: Micros) {
        let (present, tickets) = (self.present(), self.tickets.clone());
        self.on_files(now, move |compile, job| {
            let looked = present.look_at_files(compile, job, &tickets);
            drop(present);
            Box::new(move |control, now| control.take_looked(looked, now))
        });
    }

    pub(in crate::control) fn put_in_force(&mut self, ready: Ready) {
        self.file_watch.seen = ready.snapshot.files.clone();
        self.addresses = ready.addresses;
        let before = std::mem::replace(&mut self.snapshot, ready.snapshot);
        for addr in ready.added.addrs() {
            if let Some(listener) = self.snapshot.listener(addr) {
                info!("listening on {listener}");
            }
        }
        self.listeners.add(ready.added);
        let gone = self.listeners.keep_only(&self.snapshot.listen_addrs());
        for addr in gone.addrs() {
            info!("no longer listening on {addr}");
        }
        gone.close();
        if let NewLog::Instead(file) = ready.access_log {
            self.access_log.set_file(file);
        }
        self.access_log.learn(&self.snapshot);
        self.threads
            .put_in_force(before, &self.snapshot, ready.sockets);
    }

    /// Has exactly the names of the configuration in force looked up from now on.
    pub(super) fn follow_names(&mut self) {
        let names = Names::of(self.desk.config());
        self.known.keep(&names.hosts, self.desk.revision());
        self.names.send_if_modified(|followed| {
            let is_new = *followed != names;
            *followed = names;
            is_new
        });
    }

    /// Has the certificates ordered that the configuration in force asks for.
    pub(super) fn follow_wanted(&self) {
        let wanted = Wanted::of(self.desk.config());
        self.wanted.send_if_modified(|followed| {
            let is_new = *followed != wanted;
            *followed = wanted;
            is_new
        });
    }

    /// Shows the configuration in force to tasks that only read it.
    pub(in crate::control) fn publish(&self) {
        let in_force = InForce {
            draining: self.shutdown.has_begun(),
            retired: self.shutdown.has_retired(),
            ..InForce::new(&self.desk, &self.snapshot)
        };
        self.standing.send_replace(Arc::new(in_force));
    }

    /// Whether the snapshot in force lacks addresses that are known.
    pub(in crate::control) fn is_behind(&self) -> bool {
        self.addresses != self.known.version()
    }
}

/// Logs which backends were added and removed.
fn log_difference(before: &Snapshot, after: &Snapshot) {
    let (before, after) = (backends(before), backends(after));
    for (pool, backend) in after.difference(&before) {
        info!(pool, backend, "a backend came: its name resolves to it");
    }
    for (pool, backend) in before.difference(&after) {
        info!(
            pool,
            backend, "a backend went: its name no longer resolves to it"
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
