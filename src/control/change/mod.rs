//! How a change of configuration comes into force: decided at the desk, its new names looked up, compiled, its listeners
//! bound, saved, and only then told to everybody. Until that moment any mistake leaves everything as it was; from it on
//! nothing can fail. It is answered when every worker begins its requests with it.

mod in_force;
mod prepare;
mod steps;

use std::time::Duration;

use tracing::{error, info};

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::Control;
use crate::control::ask::{Accepted, Answer, Ask, Trial, Wish};
use crate::control::departures::Named;
use crate::control::desk::{Diff, Difference, Edit, Problem, ProblemKind, Proposal};
use prepare::Source;

pub(super) use prepare::{Looked, Ready};

/// Who wants what is being prepared.
pub(super) struct Asker {
    origin: String,
    /// `None`: nobody waits for an answer.
    answer: Option<Answer>,
}

/// A checked change whose new names are being looked up.
pub(super) struct LookingUp {
    proposal: Box<Proposal>,
    then: Then,
}

/// What follows when a change is in force.
enum Then {
    Nothing,
    GoBackUnlessConfirmed(Trial),
    TakeOut(Named, Duration),
}

/// What the thread that works with files has done, as what the control thread does with it.
pub(super) type Continuation = Box<dyn FnOnce(&mut Control, Micros) + Send>;

/// A piece of work on files that has ended.
pub(super) struct Finished {
    number: u64,
    then: Continuation,
}

/// A change in force that some worker may not have adopted yet.
pub(super) struct Unanswered {
    generation: u64,
    accepted: Accepted,
    answer: Answer,
}

/// What a wish comes to.
enum Decision {
    Change(Source, Then),
    Compare,
    /// Nothing is to be done for it.
    Answer(Accepted),
    Upgrade,
}

impl Control {
    /// Whether another change can be decided now.
    pub(super) fn may_decide(&self) -> bool {
        !self.is_preparing() && self.unanswered.len() < limits::ASKS
    }

    /// Whether something is on its way into force.
    pub(super) fn is_preparing(&self) -> bool {
        self.looking_up.is_some() || self.files.deadline().is_some()
    }

    /// Does what is asked, or says why not.
    pub(super) fn take_ask(&mut self, ask: Ask, now: Micros) {
        match self.must_match(ask.if_match) {
            Ok(()) => self.follow(ask.wish, ask.origin, Some(ask.answer), now),
            Err(problem) => refuse(&ask.origin, Some(ask.answer), problem),
        }
    }

    /// Does what the program itself wants.
    pub(super) fn wish(&mut self, wish: Wish, origin: String, now: Micros) {
        self.follow(wish, origin, None, now);
    }

    fn follow(&mut self, wish: Wish, origin: String, answer: Option<Answer>, now: Micros) {
        if matches!(wish, Wish::Reload { .. }) {
            self.succession.begin_reload();
        }
        let decision = self.decide(wish, &origin, now);
        let asker = Asker { origin, answer };
        match decision {
            Ok(Decision::Change(source, then)) => self.propose(source, then, asker, now),
            Ok(Decision::Compare) => self.compare(asker, now),
            Ok(Decision::Upgrade) => self.begin_upgrade(asker.origin, asker.answer),
            Ok(Decision::Answer(accepted)) => reply(asker.answer, Ok(accepted)),
            Err(problem) => refuse(&asker.origin, asker.answer, problem),
        }
    }

    fn decide(&mut self, wish: Wish, origin: &str, now: Micros) -> Result<Decision, Problem> {
        let conflict = |text: &str| Err(Problem::new(ProblemKind::Conflict, text));
        if self.shutdown.has_begun() {
            return Err(stopping());
        }
        let is_upgrading = self.succession.upgrades.is_under_way() || !self.succession.is_alone;
        if is_upgrading && wish != Wish::Compare {
            // The new process has read the configuration as it was; the old one may yet go on with it.
            return conflict("an upgrade is under way");
        }
        // An upgrade would make what is on trial stay, with nobody left to take it back.
        let may_meet_trial = matches!(wish, Wish::Compare | Wish::Confirm | Wish::Rollback { .. });
        if self.trial.is_some() && !may_meet_trial {
            return conflict("a reload is on trial: confirm it or roll it back first");
        }
        if let Some(complaint) = self.files.complaint(now)
            && wish != Wish::Confirm
        {
            return Err(Problem::new(ProblemKind::Unavailable, complaint));
        }
        Ok(match wish {
            Wish::Edit(edit) => Decision::Change(Source::Edit(edit), Then::Nothing),
            Wish::DrainServer {
                pool,
                addr,
                patience,
            } => {
                let backend = Named { pool, addr };
                Decision::Change(drain_edit(&backend), Then::TakeOut(backend, patience))
            }
            Wish::Reload { trial, allow_empty } => {
                let then = trial.map_or(Then::Nothing, Then::GoBackUnlessConfirmed);
                Decision::Change(Source::File { allow_empty }, then)
            }
            Wish::Rollback { revision } => {
                Decision::Change(Source::Revision(revision), Then::Nothing)
            }
            Wish::Compare => Decision::Compare,
            Wish::Confirm => Decision::Answer(self.confirm(origin)?),
            Wish::Upgrade => Decision::Upgrade,
        })
    }

    fn must_match(&self, if_match: Option<u64>) -> Result<(), Problem> {
        match if_match {
            Some(revision) if revision != self.desk.revision() => {
                let text = format!("the revision in force is {}", self.desk.revision());
                Err(Problem::new(ProblemKind::Changed, text))
            }
            _ => Ok(()),
        }
    }

    fn confirm(&mut self, origin: &str) -> Result<Accepted, Problem> {
        if self.trial.take().is_none() {
            let text = "no reload is on trial";
            return Err(Problem::new(ProblemKind::Conflict, text));
        }
        let revision = self.desk.revision();
        info!(audit = "confirmed", origin, revision, "the reload stays");
        Ok(self.unchanged())
    }

    /// The answer to what changes nothing.
    pub(super) fn unchanged(&self) -> Accepted {
        Accepted {
            revision: self.desk.revision(),
            changed: false,
            notes: Vec::new(),
            diff: Diff::default(),
            in_force: self.standing.borrow().clone(),
        }
    }

    /// Answers for the changes that every worker has adopted.
    pub(super) fn answer_adopted(&mut self) {
        let adopted = self.threads.adopted_by_all();
        let is_adopted = |unanswered: &mut Unanswered| unanswered.generation <= adopted;
        for Unanswered {
            accepted, answer, ..
        } in self.unanswered.extract_if(.., is_adopted)
        {
            let _ = answer.send(Ok(accepted));
        }
    }
}

pub(super) fn stopping() -> Problem {
    Problem::new(ProblemKind::Unavailable, "palantir is stopping")
}

fn drain_edit(backend: &Named) -> Source {
    Source::Edit(Edit::PatchServer {
        pool: backend.pool.clone(),
        addr: backend.addr.clone(),
        settings: vec![("drain".to_owned(), Some(toml::Value::Boolean(true)))],
    })
}

/// What the desk says, and what the change does besides what it says.
fn notes(proposal: &Proposal) -> Vec<String> {
    let effects = proposal.diff.differences.iter();
    let effects = effects.filter(|difference| difference.effect.is_some());
    let effects = effects.map(Difference::to_string);
    proposal.notes.iter().cloned().chain(effects).collect()
}

/// One line for each change, whoever made it.
fn audit(origin: &str, accepted: &Accepted, summary: &str) {
    let revision = accepted.revision;
    match accepted.changed {
        true => info!(
            audit = "changed",
            origin, revision, "configuration: {summary}"
        ),
        false => info!(
            audit = "unchanged",
            origin, revision, "configuration: {summary}"
        ),
    }
    for note in &accepted.notes {
        info!(revision, "{note}");
    }
}

/// All mistakes are logged: a signal has nobody else to tell them to.
pub(super) fn refuse(origin: &str, answer: Option<Answer>, problem: Problem) {
    for (_, mistake) in &problem.mistakes {
        error!(audit = "refused", origin, "configuration: {mistake}");
    }
    reply(answer, Err(problem));
}

/// Whoever asked may have left meanwhile.
pub(super) fn reply(answer: Option<Answer>, outcome: Result<Accepted, Problem>) {
    if let Some(answer) = answer {
        let _ = answer.send(outcome);
    }
}
