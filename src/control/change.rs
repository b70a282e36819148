//! How a change of configuration comes into force: decided at the desk, its new names looked up, compiled, its listeners
//! bound, saved, and only then told to everybody. Until that moment any mistake leaves everything as it was; from it on
//! nothing can fail. It is answered when every worker begins its requests with it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{error, info, warn};

use crate::base::limits;
use crate::base::time::Micros;
use crate::config::{self, CannotCompile, Config, Machine, Mistakes};
use crate::control::Control;
use crate::control::access_log::LogFile;
use crate::control::acme::Wanted;
use crate::control::ask::{Accepted, Answer, Ask, InForce, Trial, Wish};
use crate::control::departures::Named;
use crate::control::desk::{
    Diff, Difference, Edit, Overlay, Problem, ProblemKind, Proposal, state_file,
};
use crate::control::listeners::Listeners;
use crate::control::resolve::{self, Found, Names};
use crate::control::trial::OnTrial;
use crate::net::BoundListener;
use crate::shared::gauges;
use crate::snapshot::{AccessLog, Snapshot};

/// A change that is decided and not in force yet.
pub(super) struct Change {
    proposal: Proposal,
    origin: String,
    then: Then,
    answer: Option<Answer>,
}

/// What follows when it is in force.
enum Then {
    Nothing,
    GoBackUnlessConfirmed(Trial),
    TakeOut(Named, Duration),
}

/// A change in force that some worker may not have adopted yet.
pub(super) struct Unanswered {
    generation: u64,
    accepted: Accepted,
    answer: Answer,
}

/// What a wish comes to.
enum Decision {
    Change(Box<Proposal>, Then),
    /// Nothing is to be done for it.
    Answer(Accepted),
    Upgrade,
}

/// All that a change needs to be put in force.
pub(super) struct Ready {
    snapshot: Arc<Snapshot>,
    added: Listeners,
    /// For each worker, those of `added`.
    sockets: Vec<Vec<BoundListener>>,
    access_log: NewLog,
}

impl Ready {
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

enum NewLog {
    AsItIs,
    Instead(Option<LogFile>),
}

impl Control {
    /// Whether another change can be decided now.
    pub(super) fn may_decide(&self) -> bool {
        self.preparing.is_none() && self.unanswered.len() < limits::ASKS
    }

    /// Does what is asked, or says why not.
    pub(super) fn take_ask(&mut self, ask: Ask, now: Micros) {
        self.follow(ask.wish, ask.origin, Some(ask.answer), now);
    }

    /// Does what the program itself wants.
    pub(super) fn wish(&mut self, wish: Wish, origin: String, now: Micros) {
        self.follow(wish, origin, None, now);
    }

    fn follow(&mut self, wish: Wish, origin: String, answer: Option<Answer>, now: Micros) {
        if matches!(wish, Wish::Reload { .. }) {
            self.succession.begin_reload();
        }
        match self.decide(wish, &origin) {
            Ok(Decision::Change(proposal, then)) => self.begin(
                Change {
                    proposal: *proposal,
                    origin,
                    then,
                    answer,
                },
                now,
            ),
            Ok(Decision::Upgrade) => self.begin_upgrade(origin, answer),
            Ok(Decision::Answer(accepted)) => reply(answer, Ok(accepted)),
            Err(problem) => refuse(&origin, answer, problem),
        }
    }

    fn decide(&mut self, wish: Wish, origin: &str) -> Result<Decision, Problem> {
        let conflict = |text: &str| Err(Problem::new(ProblemKind::Conflict, text));
        if self.shutdown.has_begun() && wish != Wish::Compare {
            return conflict("palantir is stopping");
        }
        if self.succession.upgrades.is_under_way() && wish != Wish::Compare {
            // The new process has read the configuration as it is.
            return conflict("an upgrade is under way");
        }
        // An upgrade would make what is on trial stay, with nobody left to take it back.
        let may_meet_trial = matches!(wish, Wish::Compare | Wish::Confirm | Wish::Rollback { .. });
        if self.trial.is_some() && !may_meet_trial {
            return conflict("a reload is on trial: confirm it or roll it back first");
        }
        let (proposal, then) = match wish {
            Wish::Edit { edit, if_match } => {
                self.must_match(if_match)?;
                (self.desk.propose(&edit)?, Then::Nothing)
            }
            Wish::DrainServer {
                pool,
                addr,
                patience,
                if_match,
            } => {
                self.must_match(if_match)?;
                self.decide_drain(Named { pool, addr }, patience)?
            }
            Wish::Reload { trial } => {
                let file = self.load_file()?;
                (
                    self.desk.propose_file(file),
                    trial.map_or(Then::Nothing, Then::GoBackUnlessConfirmed),
                )
            }
            Wish::Rollback { revision } => (self.desk.propose_revision(revision)?, Then::Nothing),
            Wish::Compare => return Ok(Decision::Answer(self.compare()?)),
            Wish::Confirm => return self.confirm(origin).map(Decision::Answer),
            Wish::Upgrade => return Ok(Decision::Upgrade),
        };
        Ok(Decision::Change(Box::new(proposal), then))
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

    fn decide_drain(
        &self,
        backend: Named,
        patience: Duration,
    ) -> Result<(Proposal, Then), Problem> {
        let proposal = self.desk.propose(&Edit::PatchServer {
            pool: backend.pool.clone(),
            addr: backend.addr.clone(),
            settings: vec![("drain".to_owned(), Some(toml::Value::Boolean(true)))],
        })?;
        Ok((proposal, Then::TakeOut(backend, patience)))
    }

    fn load_file(&self) -> Result<Config, Problem> {
        let config =
            config::load(&self.desk.config().path).map_err(|mistakes| problem(&mistakes))?;
        for warning in config.warnings(&Machine::of_this_process()) {
            warn!("{warning}");
        }
        Ok(config)
    }

    fn compare(&self) -> Result<Accepted, Problem> {
        Ok(Accepted {
            revision: self.desk.revision(),
            changed: false,
            notes: Vec::new(),
            diff: self.desk.diff(&self.load_file()?),
        })
    }

    fn confirm(&mut self, origin: &str) -> Result<Accepted, Problem> {
        if self.trial.take().is_none() {
            let text = "no reload is on trial";
            return Err(Problem::new(ProblemKind::Conflict, text));
        }
        let revision = self.desk.revision();
        info!(audit = "confirmed", origin, revision, "the reload stays");
        Ok(Accepted {
            revision,
            changed: false,
            notes: Vec::new(),
            diff: Diff::default(),
        })
    }

    /// Finishes the change, after looking up names that are new with it.
    fn begin(&mut self, change: Change, now: Micros) {
        let missing = self.known.missing(change.proposal.config.names());
        if missing.is_empty() {
            return self.finish(change, now);
        }
        self.preparing = Some(change);
        let found = self.found.clone();
        let asked = resolve::ask(self.questions.clone(), missing);
        tokio::spawn(async move {
            let answers = asked.await;
            let _ = found.send(Found::New(answers)).await;
        });
    }

    /// Finishes the change that waited for these answers.
    pub(super) fn take_new_names(&mut self, answers: Vec<resolve::Answer>, now: Micros) {
        self.known.take_in(answers);
        if let Some(change) = self.preparing.take() {
            self.finish(change, now);
        }
    }

    fn finish(&mut self, change: Change, now: Micros) {
        let Change {
            proposal,
            origin,
            then,
            answer,
        } = change;
        let before = self.desk.revision();
        let ready = match self.make_ready(&proposal) {
            Ok(ready) => ready,
            Err(problem) => return refuse(&origin, answer, problem),
        };
        let mut accepted = Accepted {
            revision: before,
            changed: proposal.changed,
            notes: notes(&proposal),
            diff: proposal.diff.clone(),
        };
        let summary = proposal.summary.clone();
        accepted.revision = self.desk.accept(proposal, &origin, SystemTime::now());
        if let Some(ready) = ready {
            self.put_in_force(ready);
        }
        audit(&origin, &accepted, &summary);
        self.note_what_follows(then, &accepted, before, &origin, now);
        self.follow_names();
        self.follow_wanted();
        self.publish();
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

    /// Everything that may fail. Nothing of it is in force if it does. `None`: there is nothing to put in force.
    fn make_ready(&mut self, proposal: &Proposal) -> Result<Option<Ready>, Problem> {
        let ready = match proposal.changed || self.have_files_changed() {
            true => Some(self.compile_and_bind(&proposal.config)?),
            false => None,
        };
        self.save(&proposal.said)?;
        Ok(ready)
    }

    /// Everything for a configuration that may fail; nothing of it is in force yet.
    pub(super) fn compile_and_bind(&mut self, config: &Config) -> Result<Ready, Problem> {
        let failed = |text: String| Problem::new(ProblemKind::Failed, text);
        let generation = self.snapshot.generation + 1;
        let mut snapshot =
            (self.compile)(config, self.known.resolved(), generation).map_err(uncompiled)?;
        // These are put into effect when the process starts, and never again.
        snapshot.workers = self.snapshot.workers;
        snapshot
            .test_servers
            .clone_from(&self.snapshot.test_servers);
        snapshot.admin.clone_from(&self.snapshot.admin);
        let access_log = match snapshot.access_log == self.snapshot.access_log {
            true => NewLog::AsItIs,
            false => NewLog::Instead(open_log(snapshot.access_log.as_ref()).map_err(failed)?),
        };
        let patience = Duration::from_millis(limits::REBIND_WAIT_MILLIS);
        let added = self
            .listeners
            .bind_missing(&snapshot.listen_addrs(), patience);
        let added = added.map_err(failed)?;
        let sockets = self.threads.sockets_for_all(&added);
        Ok(Ready {
            sockets: sockets.map_err(|error| failed(error.to_string()))?,
            snapshot: Arc::new(snapshot),
            added,
            access_log,
        })
    }

    /// Saves what the API has said, if there is a file for it.
    fn save(&mut self, said: &Overlay) -> Result<(), Problem> {
        if let Some(path) = self.state_file()
            && *said != self.said
        {
            state_file::save(&path, said)?;
            self.said = said.clone();
        }
        Ok(())
    }

    fn state_file(&self) -> Option<PathBuf> {
        self.snapshot.admin.as_ref()?.state_file.clone()
    }

    pub(super) fn put_in_force(&mut self, ready: Ready) {
        self.file_watch.seen = ready.snapshot.files.clone();
        let before = std::mem::replace(&mut self.snapshot, ready.snapshot);
        for addr in ready.added.addrs() {
            if let Some(listener) = self.snapshot.listener(addr) {
                info!("listening on {listener}");
            }
        }
        self.listeners.add(ready.added);
        for addr in self.listeners.keep_only(&self.snapshot.listen_addrs()) {
            info!("no longer listening on {addr}");
        }
        if let NewLog::Instead(file) = ready.access_log {
            self.access_log.set_file(file);
        }
        self.access_log.learn(&self.snapshot);
        self.threads
            .put_in_force(before, &self.snapshot, ready.sockets);
    }

    /// Has the names of the configuration in force looked up from now on, and no others.
    fn follow_names(&mut self) {
        let names = Names::of(self.desk.config());
        self.known.keep(&names.hosts, self.desk.revision());
        self.names.send_if_modified(|followed| {
            let is_new = *followed != names;
            *followed = names;
            is_new
        });
    }

    /// Has the certificates ordered that the configuration in force wants.
    fn follow_wanted(&self) {
        let wanted = Wanted::of(self.desk.config());
        self.wanted.send_if_modified(|followed| {
            let is_new = *followed != wanted;
            *followed = wanted;
            is_new
        });
    }

    /// Shows what is in force to those who only read.
    pub(super) fn publish(&self) {
        let draining = self.shutdown.has_begun();
        let in_force = InForce::new(&self.desk, &self.snapshot, draining);
        self.standing.send_replace(Arc::new(in_force));
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

    /// Brings a new snapshot of the same configuration into force if addresses came or went.
    pub(super) fn take_answers(&mut self, answers: Vec<resolve::Answer>) {
        if !self.known.take_in(answers) && !self.behind {
            return;
        }
        let config = self.desk.config().clone();
        match self.compile_and_bind(&config) {
            Ok(ready) => {
                self.behind = false;
                log_difference(&self.snapshot, &ready.snapshot);
                self.put_in_force(ready);
                self.publish();
            }
            Err(problem) => {
                self.behind = true;
                error!(error = %problem, "the new addresses cannot be used; the old ones stay");
            }
        }
    }
}

fn open_log(settings: Option<&AccessLog>) -> Result<Option<LogFile>, String> {
    let open = |settings| LogFile::open(settings).map_err(|error| format!("access log: {error}"));
    settings.map(open).transpose()
}

/// Why a configuration cannot be compiled, to whoever wanted it in force.
fn uncompiled(error: CannotCompile) -> Problem {
    match error {
        CannotCompile::TooManyBackends(error) => Problem::new(ProblemKind::Full, error.to_string()),
        CannotCompile::Tls { key, text } => Problem {
            kind: ProblemKind::Invalid,
            mistakes: vec![(key, text)],
        },
    }
}

/// What a file's mistakes are to whoever wanted it read.
fn problem(mistakes: &Mistakes) -> Problem {
    let path = mistakes.path.display();
    let notes = mistakes.notes.iter();
    let notes = notes.map(|note| (note.key.clone(), format!("{path}:{note}")));
    let more = (mistakes.left_out > 0).then(|| {
        (
            String::new(),
            format!("{path}: and {} more", mistakes.left_out),
        )
    });
    Problem {
        kind: ProblemKind::Invalid,
        mistakes: notes.chain(more).collect(),
    }
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

/// Logs which backends came and went.
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
