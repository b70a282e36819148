//! The steps of a change: its source is checked, its new names are looked up, every step that may fail is done, and
//! then the change is put in force. The thread that works with files does every step that may wait for a disk.

use std::time::SystemTime;

use tracing::{error, info, warn};

use super::prepare::{self, ConfigSource, Present};
use super::{
    Continuation, Finished, LookingUp, Ready, Recipient, Requester, Saved, Then, Unanswered,
};
use super::{audit, notes, stopping};
use crate::base::time::Micros;
use crate::control::Control;
use crate::control::change_request::CompletedOperation;
use crate::control::compiler::Compiler;
use crate::control::config_store::state_file::SavedState;
use crate::control::config_store::{Diff, Problem, ProblemKind, Proposal};
use crate::control::file_thread::{GivenUp, Job};
use crate::control::pending::PendingOperation;
use crate::control::resolve;
use crate::control::trial::OnTrial;

impl Control {
    /// Has work done by the thread that works with files. The control thread then runs the continuation that the work
    /// returns, unless the work was given up.
    pub(super) fn on_files(
        &mut self,
        now: Micros,
        work: impl FnOnce(&mut Compiler, &Job) -> Continuation + Send + 'static,
    ) {
        let finished = self.outlets.finished.clone();
        self.files.begin(now, move |compiler, job| {
            let then = work(compiler, job);
            let number = job.number;
            // The control thread's loop may have ended.
            let _ = finished.blocking_send(Finished { number, then });
        });
    }

    /// Runs the continuation that the thread that works with files has returned.
    pub(in crate::control) fn take_finished(&mut self, finished: Finished, now: Micros) {
        if self.files.note_end(finished.number) {
            (finished.then)(self, now);
        } else {
            self.files.discard(finished.then);
        }
    }

    /// Gives up the work of the files thread if it stands still.
    pub(in crate::control) fn look_at_clock(&mut self, now: Micros) {
        if !self.files.is_overdue(now) {
            return;
        }
        let complaint = self.files.complaint(now).unwrap_or_default();
        error!("{complaint}");
        let given_up = self.files.give_up();
        match given_up {
            Some(GivenUp::Committed) => self.tell_of_committed(&complaint, now),
            _ => self.refuse_requester(Problem::new(ProblemKind::Unavailable, complaint), now),
        }
    }

    /// Tells the recipient of the change that is being prepared that the wait is over, although the change can no
    /// longer be called off.
    fn tell_of_committed(&mut self, why: &str, now: Micros) {
        let Some(requester) = &mut self.changes.requester else {
            return;
        };
        let told = Requester {
            requested_by: requester.requested_by.clone(),
            recipient: requester.recipient.take(),
        };
        let text = format!("{why}; the change may still come into force");
        self.refuse(told, Problem::new(ProblemKind::Unavailable, text), now);
    }

    /// Answers the recipient because the process ends before a change that can no longer be called off is on the disk.
    pub(in crate::control) fn refuse_committed(&mut self, now: Micros) {
        self.tell_of_committed("palantir is stopping", now);
    }

    /// Gives up all changes, because a stop has begun or another process has taken over. A change that can no longer be
    /// called off is in force with the next start, and is answered when it is on the disk. The lock of the state file
    /// is free for another process once no piece of work can write the file any more.
    pub(in crate::control) fn forsake_changes(&mut self, now: Micros) {
        self.config.forget_lock();
        self.changes.forsake();
        if self.files.give_up() != Some(GivenUp::Committed) {
            self.refuse_requester(stopping(), now);
        }
    }

    /// The present state, for the preparation of a change.
    pub(super) fn present(&self) -> Present {
        Present {
            config_store: self.config.config_store.clone(),
            saved: self.config.saved.clone(),
            snapshot: self.config.snapshot.clone(),
            resolved: self.names.known.resolved().clone(),
            listening: self.listeners.addrs().cloned().collect(),
            addresses: self.names.known.version(),
            seen: self.certificates.file_watch.seen.clone(),
        }
    }

    fn refuse_requester(&mut self, problem: Problem, now: Micros) {
        if let Some(requester) = self.changes.requester.take() {
            self.refuse(requester, problem, now);
        }
    }

    /// Has a change made from its source and checked.
    pub(super) fn propose(
        &mut self,
        source: ConfigSource,
        then: Then,
        requester: Requester,
        now: Micros,
    ) {
        debug_assert!(self.changes.requester.is_none(), "one change at a time");
        self.changes.requester = Some(requester);
        let config_store = self.config.config_store.clone();
        self.on_files(now, move |_, job| {
            let proposed = prepare::propose(job, &config_store, &source);
            Box::new(move |control, now| match proposed {
                Ok(proposal) => {
                    if let ConfigSource::File {
                        asked: Some(asked), ..
                    } = source
                    {
                        control
                            .changes
                            .requested_file
                            .note(&asked, proposal.file_digest());
                    }
                    control.look_up_new_names(Box::new(proposal), then, now);
                }
                Err(problem) => control.refuse_requester(problem, now),
            })
        });
    }

    /// Has the digest noted of the file that a signal asked for, because the file is to be loaded later.
    pub(in crate::control) fn look_at_asked_file(&mut self, now: Micros) {
        let (config_store, asked) = (
            self.config.config_store.clone(),
            self.changes.requested_file.clone(),
        );
        self.on_files(now, move |_, job| {
            let digest = prepare::digest_of_file(job, &config_store);
            Box::new(move |control, now| match digest {
                Ok(digest) => {
                    info!(
                        "SIGHUP waits for the end of a trial or an upgrade, and loads the configuration file as it \
                         is now"
                    );
                    control.changes.requested_file.note(&asked, digest);
                }
                Err(why) => {
                    if control.changes.pending.note_refusal(PendingOperation::Reload, &why, now) {
                        warn!("SIGHUP waits, and cannot look at the configuration file yet: {why}");
                    }
                }
            })
        });
    }

    /// Has the configuration file compared with the configuration in force.
    pub(super) fn compare(&mut self, requester: Requester, now: Micros) {
        debug_assert!(self.changes.requester.is_none(), "one change at a time");
        self.changes.requester = Some(requester);
        let config_store = self.config.config_store.clone();
        self.on_files(now, move |_, job| {
            let compared =
                prepare::load_file(job, &config_store).map(|file| config_store.diff(&file));
            Box::new(move |control, now| match compared {
                Ok(diff) => control.answer_compared(diff),
                Err(problem) => control.refuse_requester(problem, now),
            })
        });
    }

    fn answer_compared(&mut self, diff: Diff) {
        let accepted = CompletedOperation {
            diff,
            ..self.config.unchanged()
        };
        if let Some(requester) = self.changes.requester.take() {
            self.changes.accept(requester.recipient, accepted);
        }
    }

    /// Goes on with the change: looks up its new names first, if it has any.
    fn look_up_new_names(&mut self, proposal: Box<Proposal>, then: Then, now: Micros) {
        let missing = self.names.known.missing(proposal.config.names());
        if missing.is_empty() {
            return self.make_ready(proposal, then, now);
        }
        debug_assert!(self.changes.looking_up.is_none(), "one change at a time");
        self.changes.looking_up = Some(LookingUp { proposal, then });
        self.names.look_up(missing);
    }

    /// Goes on with the change that waited for these addresses.
    pub(in crate::control) fn take_new_names(
        &mut self,
        answers: Vec<resolve::LookUpAnswer>,
        now: Micros,
    ) {
        self.names.known.take_in(answers);
        if let Some(LookingUp { proposal, then }) = self.changes.looking_up.take() {
            self.make_ready(proposal, then, now);
        }
    }

    /// Has every step of the change done that may fail, and the state saved.
    fn make_ready(&mut self, proposal: Box<Proposal>, then: Then, now: Micros) {
        let present = self.present();
        let state = self.state_with(&proposal, &then);
        self.on_files(now, move |compiler, job| {
            let made = present.make_ready(compiler, job, &proposal, state);
            drop(present);
            Box::new(move |control, now| match made {
                Ok(made) => {
                    let mut proposal = *proposal;
                    proposal.notes.extend(made.notes);
                    control.note_saved(made.saved);
                    control.finish(proposal, made.ready, then, now);
                }
                Err(problem) => control.refuse_requester(problem, now),
            })
        });
    }

    /// Notes what is on the disk now. A stop has given up the lock of the state file, for the next process.
    fn note_saved(&mut self, mut saved: Saved) {
        if self.shutdown.has_begun() {
            saved.lock = None;
        }
        self.config.note_saved(saved);
    }

    /// Has the state file say no more that a reload is on trial.
    pub(in crate::control) fn save_confirmation(&mut self, now: Micros) {
        self.changes
            .pending
            .note_try(PendingOperation::StateFile, now);
        let present = self.present();
        let state = SavedState {
            taken_back: self.config.taken_back.clone(),
            ..self.config.saved.state.clone()
        };
        self.on_files(now, move |_, job| {
            let saved = present.save(job, present.saved.path.clone(), state);
            drop(present);
            Box::new(move |control, now| match saved {
                Ok(saved) => {
                    control.note_saved(saved);
                    control.changes.pending.settle(PendingOperation::StateFile);
                }
                Err(problem) => {
                    let why = problem.to_string();
                    if control
                        .changes
                        .pending
                        .note_refusal(PendingOperation::StateFile, &why, now)
                    {
                        error!(
                            "the reload is confirmed, and the state file cannot say so yet: {why}"
                        );
                    }
                }
            })
        });
    }

    /// The state that is to outlive the process once this change is in force.
    fn state_with(&self, proposal: &Proposal, then: &Then) -> SavedState {
        let mut removals = self.removals.saved(&proposal.config);
        match then {
            Then::TakeOut(backend, patience) => {
                let requested_by = self
                    .changes
                    .requester
                    .as_ref()
                    .map(|requester| requester.requested_by.as_str());
                let requested_by = removal_requester(requested_by.unwrap_or_default());
                removals.retain(|removal| !backend.is(removal));
                removals.push(backend.removal(*patience, requested_by, SystemTime::now()));
            }
            Then::Keep(backend) => removals.retain(|removal| !backend.is(removal)),
            Then::Nothing | Then::GoBackUnlessConfirmed(_) | Then::ForgetReload(_) => {}
        }
        SavedState {
            overrides: proposal.overrides.clone(),
            removals,
            lost: self.removals.lost(&proposal.config),
            taken_back: if begins_trial(proposal, then) {
                // Until somebody confirms it: the process may end before.
                Some(proposal.file_digest())
            } else {
                self.config.taken_back_with(proposal)
            },
        }
    }

    /// Puts the change in force. Nothing can fail any more.
    fn finish(&mut self, proposal: Proposal, ready: Option<Ready>, then: Then, now: Micros) {
        let Some(Requester {
            requested_by,
            recipient,
        }) = self.changes.requester.take()
        else {
            return;
        };
        let before = self.config.config_store.revision();
        let mut accepted = CompletedOperation {
            changed: proposal.changed,
            notes: notes(&proposal),
            diff: proposal.diff.clone(),
            ..self.config.unchanged()
        };
        let summary = proposal.summary.clone();
        let is_of_file = proposal.is_of_file();
        // The state file says of a file on trial only that nobody has confirmed the file.
        let is_trial = begins_trial(&proposal, &then);
        if let Some(digest) = self.config.note_taken_back(is_trial) {
            self.changes.requested_file.take_back(digest);
        }
        accepted.revision = self.config.accept(proposal, &requested_by);
        if is_of_file && !matches!(recipient, Some(Recipient::Own(_))) {
            // The file that this change loaded is the one that a waiting signal asked for.
            self.changes.pending.settle(PendingOperation::Reload);
        }
        let is_stopping = self.shutdown.has_begun();
        match ready {
            Some(ready) if is_stopping => self.show_saved(ready),
            Some(ready) => self.put_in_force(ready),
            None => {}
        }
        audit(&requested_by, &accepted, &summary);
        self.note_what_follows(then, &accepted, before, &requested_by, now);
        if !is_stopping {
            let config = self.config.config_store.config();
            self.names
                .follow(config, self.config.config_store.revision());
            self.certificates.follow(config);
        }
        self.publish();
        accepted.in_force = self.config.standing.borrow().clone();
        match recipient {
            Some(Recipient::Caller(answer)) if !is_stopping => {
                self.changes.unanswered.push(Unanswered {
                    generation: self.config.snapshot.generation,
                    accepted,
                    answer,
                })
            }
            recipient => self.changes.accept(recipient, accepted),
        }
    }

    /// Notes a change that was on its way to the disk when a stop began: the change is answered as done, and is in
    /// force with the next start.
    fn show_saved(&mut self, ready: Ready) {
        let Ready {
            snapshot,
            added,
            sockets,
            ..
        } = ready;
        self.config.snapshot = snapshot;
        self.files.discard((added, sockets));
    }

    fn note_what_follows(
        &mut self,
        then: Then,
        accepted: &CompletedOperation,
        before: u64,
        requested_by: &str,
        now: Micros,
    ) {
        if accepted.changed {
            self.changes.trial = None;
            self.changes.pending.settle(PendingOperation::Rollback);
        }
        match then {
            Then::GoBackUnlessConfirmed(trial) if accepted.changed => {
                let outcomes = self.monitoring.outcomes();
                self.changes.trial = Some(OnTrial::new(trial, before, outcomes, now));
                self.changes.pending.settle(PendingOperation::StateFile);
            }
            Then::TakeOut(backend, patience) => {
                let requested_by = removal_requester(requested_by);
                let generation = self.config.snapshot.generation;
                let removal = backend.removal(patience, requested_by, SystemTime::now());
                let until = now.after(patience);
                self.removals.drain(removal, generation, until);
            }
            Then::Keep(backend) => self.removals.keep(&backend),
            Then::ForgetReload(asked) if self.changes.requested_file.is_same_request(&asked) => {
                if self.changes.pending.forget(PendingOperation::Reload) {
                    info!("SIGHUP came before the rollback: nothing is loaded for it");
                }
            }
            Then::ForgetReload(_) | Then::Nothing | Then::GoBackUnlessConfirmed(_) => {}
        }
    }
}

/// Whether this change is taken back unless somebody confirms it.
fn begins_trial(proposal: &Proposal, then: &Then) -> bool {
    proposal.changed && matches!(then, Then::GoBackUnlessConfirmed(_))
}

fn removal_requester(requested_by: &str) -> String {
    format!("{requested_by}, drained")
}
