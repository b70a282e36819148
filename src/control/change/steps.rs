//! The steps of a change: its source is checked, its new names are looked up, all that may fail is done, and then it is
//! put in force. What may wait for a disk is done by the thread that works with files.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::error;

use super::prepare::{self, Present, Source};
use super::{Asker, Continuation, Finished, LookingUp, Ready, Then, Unanswered};
use super::{audit, notes, refuse, reply, stopping};
use crate::base::time::Micros;
use crate::control::Control;
use crate::control::ask::Accepted;
use crate::control::desk::{Diff, Problem, ProblemKind, Proposal};
use crate::control::file_thread::{GivenUp, Job};
use crate::control::resolve::{self, Compile, Found, ask_all};
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
        let may_be_kept = match given_up {
            Some(GivenUp::Committed) => "; the change may still come into force",
            _ => "",
        };
        let text = format!("{complaint}{may_be_kept}");
        let problem = Problem::new(ProblemKind::Unavailable, text);
        refuse(&asker.origin, asker.answer.take(), problem);
    }

    /// Nothing comes into force any more: a stop has begun, or another process has taken over.
    pub(in crate::control) fn forsake_changes(&mut self) {
        self.files.give_up();
        self.looking_up = None;
        if let Some(asker) = self.asker.take() {
            refuse(&asker.origin, asker.answer, stopping());
        }
    }

    pub(super) fn present(&self) -> Present {
        Present {
            desk: self.desk.clone(),
            said: self.said.clone(),
            snapshot: self.snapshot.clone(),
            resolved: self.known.resolved().clone(),
            listening: self.listeners.addrs().cloned().collect(),
            addresses: self.known.version(),
            seen: self.file_watch.seen.clone(),
        }
    }

    fn refuse_asker(&mut self, problem: Problem) {
        if let Some(asker) = self.asker.take() {
            refuse(&asker.origin, asker.answer, problem);
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
                Err(problem) => control.refuse_asker(problem),
            })
        });
    }

    /// Has the file compared with what is in force.
    pub(super) fn compare(&mut self, asker: Asker, now: Micros) {
        self.asker = Some(asker);
        let desk = self.desk.clone();
        self.on_files(now, move |_, job| {
            let compared = prepare::load_file(job, &desk).map(|file| desk.diff(&file));
            Box::new(move |control, _| match compared {
                Ok(diff) => control.answer_compared(diff),
                Err(problem) => control.refuse_asker(problem),
            })
        });
    }

    fn answer_compared(&mut self, diff: Diff) {
        let accepted = Accepted {
            diff,
            ..self.unchanged()
        };
        if let Some(asker) = self.asker.take() {
            reply(asker.answer, Ok(accepted));
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
        tokio::spawn(async move {
            let answers = ask_all(&missing).await;
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
        self.on_files(now, move |compile, job| {
            let ready = present.make_ready(compile, job, &proposal);
            drop(present);
            Box::new(move |control, now| match ready {
                Ok(ready) => control.finish(*proposal, ready, then, now),
                Err(problem) => control.refuse_asker(problem),
            })
        });
    }

    /// Puts the change in force: nothing can fail any more.
    fn finish(&mut self, proposal: Proposal, ready: Option<Ready>, then: Then, now: Micros) {
        let Some(Asker { origin, answer }) = self.asker.take() else {
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
        if self
            .snapshot
            .admin
            .as_ref()
            .is_some_and(|admin| admin.state_file.is_some())
        {
            self.said = Arc::new(proposal.said.clone());
        }
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
        if let Some(answer) = answer {
            self.unanswered.push(Unanswered {
                generation: self.snapshot.generation,
                accepted,
                answer,
            });
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
        }
        match then {
            Then::GoBackUnlessConfirmed(trial) if accepted.changed => {
                let outcomes = gauges::outcomes(&self.gauges);
                self.trial = Some(OnTrial::new(trial, before, outcomes, now));
            }
            Then::TakeOut(backend, patience) => {
                let origin = format!("{origin}, drained");
                let generation = self.snapshot.generation;
                self.departures
                    .drain(backend, generation, now.after(patience), origin);
            }
            Then::Nothing | Then::GoBackUnlessConfirmed(_) => {}
        }
    }
}
