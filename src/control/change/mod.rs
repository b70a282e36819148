//! How a change of configuration comes into force: decided at the desk, its new names looked up, compiled, its listeners
//! bound, saved, and only then told to everybody. Until that moment any mistake leaves everything as it was; from it on
//! nothing can fail. It is answered when every worker begins its requests with it.

mod in_force;
mod prepare;
mod steps;

use std::process;
use std::time::Duration;

use tracing::{error, info, warn};

use crate::base::limits;
use crate::base::time::Micros;
use crate::control::Control;
use crate::control::ask::{Accepted, Answer, Ask, Trial, Wish};
use crate::control::departures::Named;
use crate::control::desk::{Diff, Difference, Edit, Problem, ProblemKind, Proposal};
use crate::control::pending::Operation;
use prepare::Source;

pub(super) use prepare::{Looked, Ready, Saved, state_path};

/// Why process 1 refuses an upgrade.
const AS_FIRST_PROCESS: &str = "palantir is process 1, the first of its container: when it ends, the kernel ends all other \
                                processes there, so that no new process can take over; start another container instead";

/// Who wants what is being prepared.
pub(super) struct Asker {
    pub origin: String,
    /// `None`: it was told already.
    pub recipient: Option<Recipient>,
}

/// Who hears how it ends.
pub(super) enum Recipient {
    /// Whoever asked.
    Caller(Answer),
    /// Palantir itself, which tries again if it may.
    Own(Operation),
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
    /// It is not taken out any more.
    Keep(Named),
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
    Upgrade {
        allow_empty: bool,
    },
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
        self.pending.note_other();
        let asker = Asker {
            origin: ask.origin,
            recipient: Some(Recipient::Caller(ask.answer)),
        };
        match self.must_match(ask.if_match) {
            Ok(()) => self.follow(ask.wish, asker, now),
            Err(problem) => self.refuse(asker, problem, now),
        }
    }

    /// Does what the program itself wants.
    pub(super) fn try_own(&mut self, own: Operation, wish: Wish, origin: String, now: Micros) {
        self.pending.note_try(own, now);
        let recipient = Some(Recipient::Own(own));
        self.follow(wish, Asker { origin, recipient }, now);
    }

    fn follow(&mut self, wish: Wish, asker: Asker, now: Micros) {
        // Whoever is not the service, or has told of its stop, has nothing to say of reloads.
        let may_tell = self.succession.is_alone && !self.shutdown.has_begun();
        if may_tell && matches!(wish, Wish::Reload { .. }) {
            self.succession.begin_reload();
        }
        let decision = self.decide(wish, &asker.origin, now);
        match decision {
            Ok(Decision::Change(source, then)) => self.propose(source, then, asker, now),
            Ok(Decision::Compare) => self.compare(asker, now),
            Ok(Decision::Upgrade { allow_empty }) => self.begin_upgrade(asker, allow_empty, now),
            Ok(Decision::Answer(accepted)) => self.accept(asker.recipient, accepted),
            Err(problem) => self.refuse(asker, problem, now),
        }
    }

    fn decide(&mut self, wish: Wish, origin: &str, now: Micros) -> Result<Decision, Problem> {
        let conflict = |text: &str| Err(Problem::new(ProblemKind::Conflict, text));
        if self.shutdown.has_begun() {
            return Err(stopping());
        }
        if self.is_upgrading() && wish != Wish::Compare {
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
            Wish::Edit(edit) => self.decide_edit(edit),
            Wish::DrainServer {
                pool,
                addr,
                patience,
            } => {
                let backend = Named::new(&pool, &addr);
                let drain = patch(&backend, vec![("drain".to_owned(), Some(true.into()))]);
                Decision::Change(Source::Edit(drain), Then::TakeOut(backend, patience))
            }
            Wish::Reload {
                trial,
                allow_empty,
                asked,
            } => {
                let then = trial.map_or(Then::Nothing, Then::GoBackUnlessConfirmed);
                Decision::Change(Source::File { allow_empty, asked }, then)
            }
            Wish::Rollback { revision } => {
                Decision::Change(Source::Revision(revision), Then::Nothing)
            }
            Wish::Compare => Decision::Compare,
            Wish::Confirm => Decision::Answer(self.confirm(origin)?),
            Wish::Upgrade { .. } if process::id() == 1 => return conflict(AS_FIRST_PROCESS),
            Wish::Upgrade { force: false, .. } if self.taken_back.is_some() => {
                return conflict(
                    "the configuration file differs from what is in force: a rollback has taken it back, and the new \
                     process would take it over for good; reload the right file first, or force the upgrade",
                );
            }
            Wish::Upgrade { allow_empty, .. } => Decision::Upgrade { allow_empty },
        })
    }

    /// Whether another process is on its way to be the service, or has just been it.
    pub(super) fn is_upgrading(&self) -> bool {
        self.succession.upgrades.is_under_way() || !self.succession.is_alone
    }

    /// Whoever adds a backend that is to be taken out wants it to stay, with the settings that are given.
    fn decide_edit(&self, edit: Edit) -> Decision {
        let backend = match &edit {
            Edit::AddServer { pool, server } => {
                let addr = server.get("addr").and_then(toml::Value::as_str);
                Named::new(pool, addr.unwrap_or_default())
            }
            Edit::PutServer { pool, addr, .. } => Named::new(pool, addr),
            _ => return Decision::Change(Source::Edit(edit), Then::Nothing),
        };
        if !self.departures.is_leaving(&backend) {
            return Decision::Change(Source::Edit(edit), Then::Nothing);
        }
        let edit = match edit {
            Edit::AddServer { server, .. } => patch(&backend, keep(server)),
            edit => edit,
        };
        Decision::Change(Source::Edit(edit), Then::Keep(backend))
    }

    /// Whether somebody waits for what is being prepared.
    pub(super) fn has_recipient(&self) -> bool {
        let asker = self.asker.as_ref();
        asker.is_some_and(|asker| asker.recipient.is_some())
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
        self.pending.settle(Operation::Rollback);
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

type Settings = Vec<(String, Option<toml::Value>)>;

fn patch(backend: &Named, settings: Settings) -> Edit {
    Edit::PatchServer {
        pool: backend.pool.clone(),
        addr: backend.addr.clone(),
        settings,
    }
}

/// What makes a backend that is leaving one that stays: what is not given is as it was, but for the drain.
fn keep(given: toml::Table) -> Settings {
    let drain = ("drain".to_owned(), None);
    let given = given.into_iter().filter(|(key, _)| key != "addr");
    std::iter::once(drain)
        .chain(given.map(|(key, value)| (key, Some(value))))
        .collect()
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

fn log_refusal(origin: &str, problem: &Problem) {
    for (_, mistake) in &problem.mistakes {
        error!(audit = "refused", origin, "configuration: {mistake}");
    }
}

impl Control {
    /// Tells whoever asked that it was done.
    pub(super) fn accept(&mut self, recipient: Option<Recipient>, accepted: Accepted) {
        match recipient {
            // Whoever asked may have left meanwhile.
            Some(Recipient::Caller(answer)) => drop(answer.send(Ok(accepted))),
            Some(Recipient::Own(own)) => self.pending.settle(own),
            None => {}
        }
    }

    /// Tells whoever asked that it was not done. All mistakes are logged: a signal has nobody else to tell them to. What
    /// palantir wants itself is tried again, unless the reason is final.
    pub(super) fn refuse(&mut self, asker: Asker, problem: Problem, now: Micros) {
        let Asker { origin, recipient } = asker;
        self.succession.note_refusal(&problem);
        match recipient {
            Some(Recipient::Own(own)) if own.is_final(problem.kind) => {
                log_refusal(&origin, &problem);
                self.pending.settle(own);
            }
            Some(Recipient::Own(own)) => {
                let is_told = self.pending.note_refusal(own, &problem.to_string(), now);
                if is_told {
                    log_refusal(&origin, &problem);
                    warn!(origin, "this is tried again until it can be done");
                }
            }
            Some(Recipient::Caller(answer)) => {
                log_refusal(&origin, &problem);
                let _ = answer.send(Err(problem));
            }
            None => {}
        }
    }
}
