//! How a change of configuration comes into force: it is decided at the configuration store, its new names are looked
//! up, it is compiled, its listeners are bound, and it is saved; only then are other threads told. Until that moment
//! any mistake leaves everything as it was; from that moment on nothing can fail. The change is answered when every
//! worker begins its requests with it.

mod in_force;
mod prepare;
mod steps;
mod under_way;

use std::process;
use std::time::Duration;

use tracing::info;

use crate::base::time::Micros;
use crate::control::Control;
use crate::control::change_request::{
    ChangeRequest, CompletedOperation, Operation, ReplySender, Trial,
};
use crate::control::config_store::{Difference, Edit, Problem, ProblemKind, Proposal};
use crate::control::pending::PendingOperation;
use crate::control::removals::Named;
use crate::control::requested_file::RequestedFile;
use prepare::ConfigSource;

pub(super) use prepare::{Looked, Ready, Saved, state_path};
pub(super) use under_way::ChangesUnderWay;

/// Why process 1 refuses an upgrade.
const AS_FIRST_PROCESS: &str = "palantir is process 1, the first of its container: when it ends, the kernel ends all \
                                other processes there, so that no new process can take over; start another container \
                                instead";

/// The origin of the change that is being prepared, and the recipient of its result.
pub(super) struct Requester {
    /// The caller, as the audit log names it.
    pub requested_by: String,
    /// `None`: the recipient already has an answer.
    pub recipient: Option<Recipient>,
}

/// The recipient of a change's result.
pub(super) enum Recipient {
    /// The caller of the API, or a signal, who waits for an answer.
    Caller(ReplySender),
    /// Palantir itself, which tries the operation again if the failure is not final.
    Own(PendingOperation),
}

/// A checked change whose new names are being looked up.
pub(super) struct LookingUp {
    proposal: Box<Proposal>,
    then: Then,
}

/// The step that follows once a change is in force.
enum Then {
    /// Nothing follows.
    Nothing,
    /// A trial begins, which only a confirmation ends well.
    GoBackUnlessConfirmed(Trial),
    /// The backend is removed when its requests have ended, or after this time.
    TakeOut(Named, Duration),
    /// The backend is no longer to be removed.
    Keep(Named),
    /// A reload that a signal asked for before is not wanted any more.
    ForgetReload(RequestedFile),
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
    accepted: CompletedOperation,
    answer: ReplySender,
}

/// The work that an operation leads to.
enum Decision {
    /// The configuration is changed from this source, and this step follows.
    Change(ConfigSource, Then),
    /// The file is compared with the configuration in force.
    Compare,
    /// The operation needs no work.
    Answer(CompletedOperation),
    /// A new process is started.
    Upgrade { allow_empty: bool },
}

impl Control {
    /// Whether another change can be decided now.
    pub(super) fn may_decide(&self) -> bool {
        !self.is_preparing() && self.changes.has_room()
    }

    /// Whether a change is on its way into force.
    pub(super) fn is_preparing(&self) -> bool {
        self.changes.looking_up.is_some() || self.files.deadline().is_some()
    }

    /// Does what was asked, or answers why not.
    pub(super) fn take_request(&mut self, request: ChangeRequest, now: Micros) {
        self.changes.pending.note_other();
        let requester = Requester {
            requested_by: request.requested_by,
            recipient: Some(Recipient::Caller(request.answer)),
        };
        match self.config.must_match(request.if_match) {
            Ok(()) => self.follow(request.operation, requester, now),
            Err(problem) => self.refuse(requester, problem, now),
        }
    }

    /// Does an operation that palantir itself wants.
    pub(super) fn try_own(
        &mut self,
        own: PendingOperation,
        operation: Operation,
        requested_by: String,
        now: Micros,
    ) {
        self.changes.pending.note_try(own, now);
        let recipient = Some(Recipient::Own(own));
        self.follow(
            operation,
            Requester {
                requested_by,
                recipient,
            },
            now,
        );
    }

    fn follow(&mut self, operation: Operation, requester: Requester, now: Micros) {
        // Systemd hears of reloads only from the process that is the service, and not after that process has told of
        // its stop.
        let may_tell = self.upgrade_run.is_alone && !self.shutdown.has_begun();
        if may_tell && matches!(operation, Operation::Reload { .. }) {
            self.service_manager.begin_reload();
        }
        let decision = self.decide(operation, &requester, now);
        match decision {
            Ok(Decision::Change(source, then)) => self.propose(source, then, requester, now),
            Ok(Decision::Compare) => self.compare(requester, now),
            Ok(Decision::Upgrade { allow_empty }) => {
                self.begin_upgrade(requester, allow_empty, now)
            }
            Ok(Decision::Answer(accepted)) => self.changes.accept(requester.recipient, accepted),
            Err(problem) => self.refuse(requester, problem, now),
        }
    }

    fn decide(
        &mut self,
        operation: Operation,
        requester: &Requester,
        now: Micros,
    ) -> Result<Decision, Problem> {
        let conflict = |text: &str| Err(Problem::new(ProblemKind::Conflict, text));
        if self.shutdown.has_begun() {
            return Err(stopping());
        }
        if self.is_upgrading() && operation != Operation::Compare {
            // The new process has read the configuration as it was, and the old process may yet go on with that
            // configuration.
            return conflict("an upgrade is under way");
        }
        // An upgrade would make a reload on trial permanent: no process would be left to take it back.
        let may_meet_trial = matches!(
            operation,
            Operation::Compare | Operation::Confirm | Operation::Rollback { .. }
        );
        if self.changes.trial.is_some() && !may_meet_trial {
            return conflict("a reload is on trial: confirm it or roll it back first");
        }
        if let Some(complaint) = self.files.complaint(now)
            && operation != Operation::Confirm
        {
            return Err(Problem::new(ProblemKind::Unavailable, complaint));
        }
        Ok(match operation {
            Operation::Edit(edit) => self.decide_edit(edit),
            Operation::DrainServer {
                pool,
                addr,
                patience,
            } => {
                let backend = Named::new(&pool, &addr);
                let drain = patch(&backend, vec![("drain".to_owned(), Some(true.into()))]);
                Decision::Change(ConfigSource::Edit(drain), Then::TakeOut(backend, patience))
            }
            Operation::Reload {
                trial,
                allow_empty,
                asked,
            } => {
                let then = trial.map_or(Then::Nothing, Then::GoBackUnlessConfirmed);
                Decision::Change(ConfigSource::File { allow_empty, asked }, then)
            }
            Operation::Rollback { revision } => Decision::Change(
                ConfigSource::Revision(revision),
                self.after_rollback(requester),
            ),
            Operation::Compare => Decision::Compare,
            Operation::Confirm => Decision::Answer(self.confirm(&requester.requested_by, now)?),
            Operation::Upgrade { .. } if process::id() == 1 => return conflict(AS_FIRST_PROCESS),
            Operation::Upgrade { force: false, .. } if self.config.taken_back.is_some() => {
                return conflict(
                    "the configuration file differs from what is in force: a rollback has taken it back, and the new \
                     process would take it over for good; reload the right file first, or force the upgrade",
                );
            }
            Operation::Upgrade { allow_empty, .. } => Decision::Upgrade { allow_empty },
        })
    }

    /// Whether a new process is starting, or has just become the service.
    pub(super) fn is_upgrading(&self) -> bool {
        self.upgrade_run.upgrades.is_under_way() || !self.upgrade_run.is_alone
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
            _ => return Decision::Change(ConfigSource::Edit(edit), Then::Nothing),
        };
        if !self.removals.is_being_removed(&backend) {
            return Decision::Change(ConfigSource::Edit(edit), Then::Nothing);
        }
        let edit = match edit {
            Edit::AddServer { server, .. } => patch(&backend, keep(server)),
            edit => edit,
        };
        Decision::Change(ConfigSource::Edit(edit), Then::Keep(backend))
    }

    /// A rollback by hand ends a reload that a signal asked for before. The end of a trial does not.
    fn after_rollback(&self, requester: &Requester) -> Then {
        match requester.recipient {
            Some(Recipient::Own(_)) => Then::Nothing,
            _ => Then::ForgetReload(self.changes.requested_file.clone()),
        }
    }

    fn confirm(&mut self, requested_by: &str, now: Micros) -> Result<CompletedOperation, Problem> {
        if self.changes.trial.is_none() {
            let text = "no reload is on trial";
            return Err(Problem::new(ProblemKind::Conflict, text));
        }
        if self.files.committed_until().is_some() {
            let doing = self.files.complaint(now).unwrap_or_default();
            let text = format!("the rollback of the reload cannot be called off any more: {doing}");
            return Err(Problem::new(ProblemKind::Unavailable, text));
        }
        self.changes.trial = None;
        self.changes.pending.settle(PendingOperation::Rollback);
        self.changes.pending.want(PendingOperation::StateFile);
        let revision = self.config.config_store.revision();
        info!(
            audit = "confirmed",
            requested_by, revision, "the reload stays"
        );
        Ok(self.config.unchanged())
    }
}

/// A problem: palantir is stopping, and changes nothing any more.
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
fn audit(requested_by: &str, accepted: &CompletedOperation, summary: &str) {
    let revision = accepted.revision;
    if accepted.changed {
        info!(
            audit = "changed",
            requested_by, revision, "configuration: {summary}"
        )
    } else {
        info!(
            audit = "unchanged",
            requested_by, revision, "configuration: {summary}"
        )
    }
    for note in &accepted.notes {
        info!(revision, "{note}");
    }
}

impl Control {
    /// Tells the recipient why the change was not made, and the service manager if it waits for a reload.
    pub(super) fn refuse(&mut self, requester: Requester, problem: Problem, now: Micros) {
        self.service_manager.note_refusal(&problem);
        self.changes.refuse(requester, problem, now);
    }
}
