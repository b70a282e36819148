//! How a change of configuration comes into force: it is decided at the desk, its new names are looked up, it is
//! compiled, its listeners are bound, and it is saved; only then are other threads told. Until that moment any mistake
//! leaves everything as it was; from that moment on nothing can fail. The change is answered when every worker begins
//! its requests with it.

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
use crate::control::asked_file::AskedFile;
use crate::control::departures::Named;
use crate::control::desk::{Diff, Difference, Edit, Problem, ProblemKind, Proposal};
use crate::control::pending::Operation;
use prepare::Source;

pub(super) use prepare::{Looked, Ready, Saved, state_path};

/// Why process 1 refuses an upgrade.
const AS_FIRST_PROCESS: &str = "palantir is process 1, the first of its container: when it ends, the kernel ends all \
                                other processes there, so that no new process can take over; start another container \
                                instead";

/// The origin of the change that is being prepared, and the recipient of its result.
pub(super) struct Asker {
    pub origin: String,
    /// `None`: the recipient already has an answer.
    pub recipient: Option<Recipient>,
}

/// The recipient of a change's result.
pub(super) enum Recipient {
    /// The caller of the API, or a signal, who waits for an answer.
    Caller(Answer),
    /// Palantir itself, which tries the operation again if the failure is not final.
    Own(Operation),
}

/// A checked change whose new names are being looked up.
pub(super) struct LookingUp {
    proposal: Box<Proposal>,
    then: Then,
}

/// The step that follows once a change is in force.
enum Then {
    Nothing,
    GoBackUnlessConfirmed(Trial),
    TakeOut(Named, Duration),
    /// The backend is no longer to be removed.
    Keep(Named),
    /// A reload that a signal asked for before is not wanted any more.
    ForgetReload(AskedFile),
}

/// The result of a piece of work on files: the step that the control thread takes next.
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

/// The work that a wish leads to.
enum Decision {
    Change(Source, Then),
    Compare,
    /// The wish needs nothing done.
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

    /// Whether a change is on its way into force.
    pub(super) fn is_preparing(&self) -> bool {
        self.looking_up.is_some() || self.files.deadline().is_some()
    }

    /// Does what was asked, or answers why not.
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

    /// Does an operation that palantir itself wants.
    pub(super) fn try_own(&mut self, own: Operation, wish: Wish, origin: String, now: Micros) {
        self.pending.note_try(own, now);
        let recipient = Some(Recipient::Own(own));
        self.follow(wish, Asker { origin, recipient }, now);
    }

    fn follow(&mut self, wish: Wish, asker: Asker, now: Micros) {
        // Systemd hears of reloads only from the process that is the service, and not after that process has told of
        // its stop.
        let may_tell = self.succession.is_alone && !self.shutdown.has_begun();
        if may_tell && matches!(wish, Wish::Reload { .. }) {
            self.succession.begin_reload();
        }
        let decision = self.decide(wish, &asker, now);
        match decision {
            Ok(Decision::Change(source, then)) => self.propose(source, then, asker, now),
            Ok(Decision::Compare) => self.compare(asker, now),
            Ok(Decision::Upgrade { allow_empty }) => self.begin_upgrade(asker, allow_empty, now),
            Ok(Decision::Answer(accepted)) => self.accept(asker.recipient, accepted),
            Err(problem) => self.refuse(asker, problem, now),
        }
    }

    fn decide(&mut self, wish: Wish, asker: &Asker, now: Micros) -> Result<Decision, Problem> {
        let conflict = |text: &str| Err(Problem::new(ProblemKind::Conflict, text));
        if self.shutdown.has_begun() {
            return Err(stopping());
        }
        if self.is_upgrading() && wish != Wish::Compare {
            // The new process has read the configuration as it was, and the old process may yet go on with that
            // configuration.
            return conflict("an upgrade is under way");
        }
        // An upgrade would make a reload on trial permanent: no process would be left to take it back.
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
                Decision::Change(Source::Revision(revision), self.after_rollback(asker))
            }
            Wish::Compare => Decision::Compare,
            Wish::Confirm => Decision::Answer(self.confirm(&asker.origin, now)?),
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

    /// Whether a new process is starting, or has just become the service.
    pub(super) fn is_upgrading(&self) -> bool {
        self.succession.upgrades.is_under_way() || !self.succession.is_alone
    }

    /// Adding or putting a backend that is being drained for removal calls the removal off and applies the given
    /// settings.
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

    /// Whether somebody still waits for the result of the change that is being prepared.
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

    /// A rollback by hand ends a reload that a signal asked for before. The end of a trial does not.
    fn after_rollback(&self, asker: &Asker) -> Then {
        match asker.recipient {
            Some(Recipient::Own(_)) => Then::Nothing,
            _ => Then::ForgetReload(self.asked_file.clone()),
        }
    }

    fn confirm(&mut self, origin: &str, now: Micros) -> Result<Accepted, Problem> {
        if self.trial.is_none() {
            let text = "no reload is on trial";
            return Err(Problem::new(ProblemKind::Conflict, text));
        }
        if self.files.committed_until().is_some() {
            let doing = self.files.complaint(now).unwrap_or_default();
            let text = format!("the rollback of the reload cannot be called off any more: {doing}");
            return Err(Problem::new(ProblemKind::Unavailable, text));
        }
        self.trial = None;
        self.pending.settle(Operation::Rollback);
        self.pending.want(Operation::StateFile);
        let revision = self.desk.revision();
        info!(audit = "confirmed", origin, revision, "the reload stays");
        Ok(self.unchanged())
    }

    /// The answer to a wish that changes nothing.
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

/// The settings that call off the removal of a backend: its drain ends, and settings that are not given stay as they
/// were.
fn keep(given: toml::Table) -> Settings {
    let drain = ("drain".to_owned(), None);
    let given = given.into_iter().filter(|(key, _)| key != "addr");
    std::iter::once(drain)
        .chain(given.map(|(key, value)| (key, Some(value))))
        .collect()
}

/// The notes of the proposal, and those about what the change does besides.
fn notes(proposal: &Proposal) -> Vec<String> {
    let effects = proposal.diff.differences.iter();
    let effects = effects.filter(|difference| difference.effect.is_some());
    let effects = effects.map(Difference::to_string);
    proposal.notes.iter().cloned().chain(effects).collect()
}

/// Logs one line for each change, whatever its origin.
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
    /// Tells the recipient that the change was made.
    pub(super) fn accept(&mut self, recipient: Option<Recipient>, accepted: Accepted) {
        match recipient {
            // The caller may have left meanwhile.
            Some(Recipient::Caller(answer)) => drop(answer.send(Ok(accepted))),
            Some(Recipient::Own(own)) => self.pending.settle(own),
            None => {}
        }
    }

    /// Tells the recipient why the change was not made. All mistakes are logged, since a signal has no other recipient.
    /// An operation that palantir itself wants is tried again, unless the reason is final.
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
            // The caller has heard already that the outcome was open.
            None => log_refusal(&origin, &problem),
        }
    }
}
