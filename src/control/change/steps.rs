//! The steps of a change: its source is checked, its new names are looked up, all that may fail is done, and then it is
//! put in force. What may wait for a disk is done by the thread that works with files.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::error;

use super::prepare::{self, Present, Source};
use super::{Asker, Continuation, Finished, LookingUp, Ready, Recipient, Then, Unanswered};
use super::{audit, notes, stopping};
use crate::base::time::Micros;
use crate::control::Control;
use crate::control::ask::Accepted;
use crate::control::desk::state_file::State;
use crate::control::desk::{Diff, Problem, ProblemKind, Proposal};
use crate::control::file_thread::{GivenUp, Job};
use crate::control::pending::Operation;
use crate::control::resolve::{self, Compile, Found};
use crate::control::trial::OnTrial;
use crate::shared::gauges;

impl Control {
    /// Has work done by the thread that works with files. What it gives is done here then, unless it was given up.
    pub(super) fn on_files(
        &mut self,
        now: Micros,
        work: impl FnOnce(&mut Compile, &Job) -> Continuation + Send + 'static,
    ) {
        let finished = self.finished.clone();
        self.files.begin(now, move |compile, job| {
            let then = work(compile, job);
            let number = job.number;
            // The loop may have ended.
            let _ = finished.blocking_send(Finished { number, then });
        });
    }

    /// Goes on with what the thread that works with files has done.
    pub(in crate::control) fn take_finished(&mut self, finished: Finished, now: Micros) {
        if self.files.note_end(finished.number) && !self.shutdown.has_begun() {
            (finished.then)(self, now);
        } else {
            self.files.discard(finished.then);
        }
    }

    /// Gives up what the thread that works with files does, if that takes too long.
    pub(in crate::control) fn look_at_clock(&mut self, now: Micros) {
        if self.files.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let complaint = self.files.complaint(now).unwrap_or_default();
        error!("{complaint}");
        let given_up = self.files.give_up();
        let Some(asker) = &mut self.asker else {
            return;
        };
        let told = Asker {
            origin: asker.origin.clone(),
            recipient: asker.recipient.take(),
        };
        let may_be_kept = match given_up {
            Some(GivenUp::Committed) => "; the change may still come into force",
            _ => "",
        };
        let text = format!("{complaint}{may_be_kept}");
        let problem = Problem::new(ProblemKind::Unavailable, text);
        self.refuse(told, problem, now);
    }

    /// Nothing comes into force any more: a stop has begun, or another process has taken over. Another process may have
    /// the state file, once a piece of work that may yet write it has ended.
    pub(in crate::control) fn forsake_changes(&mut self, now: Micros) {
        self.files.give_up();
        Arc::make_mut(&mut self.saved).lock = None;
        self.looking_up = None;
        if let Some(asker) = self.asker.take() {
            self.refuse(asker, stopping(), now);
        }
    }

    pub(super) fn present(&self) -> Present {
        Present {
            desk: self.desk.clone(),
            saved: self.saved.clone(),
            snapshot: self.snapshot.clone(),
            resolved: self.known.resolved().clone(),
            listening: self.listeners.addrs().cloned().collect(),
            addresses: self.known.version(),
            seen: self.file_watch.seen.clone(),
        }
    }

    fn refuse_asker(&mut self, problem: Problem, now: Micros) {
        if let Some(asker) = self.asker.take() {
            self.refuse(asker, problem, now);
        }
    }

    /// Has a change checked.
    pub(super) fn propose(&mut self, source: Source, then: Then, asker: Asker, now: Micros) {
        self.asker = Some(asker);
        let desk = self.desk.clone();
        self.on_files(now, move |_, job| {
            let proposed = prepare::propose(job, &desk, &source);
            Box::new(move |control, now| match proposed {
                Ok(proposal) => control.look_up_new_names(Box::new(proposal), then, now),
                Err(problem) => control.refuse_asker(problem, now),
            })
        });
    }

    /// Has the file compared with what is in force.
    pub(super) fn compare(&mut self, asker: Asker, now: Micros) {
        self.asker = Some(asker);
        let desk = self.desk.clone();
        self.on_files(now, move |_, job| {
            let compared = prepare::load_file(job, &desk).map(|file| desk.diff(&file));
            Box::new(move |control, now| match compared {
                Ok(diff) => control.answer_compared(diff),
                Err(problem) => control.refuse_asker(problem, now),
            })
        });
    }

    fn answer_compared(&mut self, diff: Diff) {
        let accepted = Accepted {
            diff,
            ..self.unchanged()
        };
        if let Some(asker) = self.asker.take() {
            self.accept(asker.recipient, accepted);
        }
    }

    /// Goes on with the change, after looking up names that are new with it.
    fn look_up_new_names(&mut self, proposal: Box<Proposal>, then: Then, now: Micros) {
        let missing = self.known.missing(proposal.config.names());
        if missing.is_empty() {
            return self.make_ready(proposal, then, now);
        }
        self.looking_up = Some(LookingUp { proposal, then });
        let found = self.found.clone();
        let asked = resolve::ask(self.questions.clone(), missing);
        tokio::spawn(async move {
            let answers = asked.await;
            let _ = found.send(Found::New(answers)).await;
        });
    }

    /// Goes on with the change that waited for these answers.
    pub(in crate::control) fn take_new_names(
        &mut self,
        answers: Vec<resolve::Answer>,
        now: Micros,
    ) {
        self.known.take_in(answers);
        if let Some(LookingUp { proposal, then }) = self.looking_up.take() {
            self.make_ready(proposal, then, now);
        }
    }

    /// Has everything for the change prepared that may fail, and saved.
    fn make_ready(&mut self, proposal: Box<Proposal>, then: Then, now: Micros) {
        let present = self.present();
        let state = self.state_with(&proposal, &then);
        self.on_files(now, move |compile, job| {
            let ready = present.make_ready(compile, job, &proposal, state);
            drop(present);
            Box::new(move |control, now| match ready {
                Ok((ready, saved)) => {
                    control.saved = Arc::new(saved);
                    control.finish(*proposal, ready, then, now);
                }
                Err(problem) => control.refuse_asker(problem, now),
            })
        });
    }

    /// What is to outlive the process once this change is in force.
    fn state_with(&self, proposal: &Proposal, then: &Then) -> State {
        let mut departures = self.departures.saved(&proposal.config);
        match then {
            Then::TakeOut(backend, patience) => {
                let origin = self.asker.as_ref().map(|asker| asker.origin.as_str());
                let origin = departure_origin(origin.unwrap_or_default());
                departures.retain(|departure| !backend.is(departure));
                departures.push(backend.departure(*patience, origin, SystemTime::now()));
            }
            Then::Keep(backend) => departures.retain(|departure| !backend.is(departure)),
            Then::Nothing | Then::GoBackUnlessConfirmed(_) => {}
        }
        let recipient = self
            .asker
            .as_ref()
            .and_then(|asker| asker.recipient.as_ref());
        let taken_back = match recipient {
            Some(Recipient::Own(Operation::Rollback)) => Some(self.desk.file_digest()),
            // Another file, or the same one for good.
            _ if proposal.is_of_file() => None,
            _ => self.taken_back.clone(),
        };
        State {
            said: proposal.said.clone(),
            departures,
            taken_back,
        }
    }

    /// Puts the change in force: nothing can fail any more.
    fn finish(&mut self, proposal: Proposal, ready: Option<Ready>, then: Then, now: Micros) {
        let Some(Asker { origin, recipient }) = self.asker.take() else {
            return;
        };
        let before = self.desk.revision();
        let mut accepted = Accepted {
            changed: proposal.changed,
            notes: notes(&proposal),
            diff: proposal.diff.clone(),
            ..self.unchanged()
        };
        let summary = proposal.summary.clone();
        self.taken_back.clone_from(&self.saved.state.taken_back);
        let desk = Arc::make_mut(&mut self.desk);
        accepted.revision = desk.accept(proposal, &origin, SystemTime::now());
        if let Some(ready) = ready {
            self.put_in_force(ready);
        }
        audit(&origin, &accepted, &summary);
        self.note_what_follows(then, &accepted, before, &origin, now);
        self.follow_names();
        self.follow_wanted();
        self.publish();
        accepted.in_force = self.standing.borrow().clone();
        match recipient {
            Some(Recipient::Caller(answer)) => self.unanswered.push(Unanswered {
                generation: self.snapshot.generation,
                accepted,
                answer,
            }),
            own => self.accept(own, accepted),
        }
    }

    fn note_what_follows(
        &mut self,
        then: Then,
        accepted: &Accepted,
        before: u64,
        origin: &str,
        now: Micros,
    ) {
        if accepted.changed {
            self.trial = None;
            self.pending.settle(Operation::Rollback);
        }
        match then {
            Then::GoBackUnlessConfirmed(trial) if accepted.changed => {
                let outcomes = gauges::outcomes(&self.gauges);
                self.trial = Some(OnTrial::new(trial, before, outcomes, now));
            }
            Then::TakeOut(backend, patience) => {
                let origin = departure_origin(origin);
                let generation = self.snapshot.generation;
                let departure = backend.departure(patience, origin, SystemTime::now());
                let until = now.after(patience);
                self.departures.drain(departure, generation, until);
            }
            Then::Keep(backend) => self.departures.keep(&backend),
            Then::Nothing | Then::GoBackUnlessConfirmed(_) => {}
        }
    }
}

fn departure_origin(origin: &str) -> String {
    format!("{origin}, drained")
}
