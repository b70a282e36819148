//! The configuration that is in force, as a text with a history: the content of the file, the changes that the API has
//! made since, and the numbered revisions of both. No I/O and no clock here, except in [`state_file`] and
//! [`state_lock`].
//!
//! Proposing a change checks the whole of it; the change is accepted once it is in force everywhere. [`written`] knows
//! where pools and backends stand in a document, [`apply`] and [`overrides`] change them there, [`diff`] tells two
//! documents apart.

mod apply;
mod diff;
mod edit;
mod mask;
mod normal;
mod overrides;
mod relative;
pub mod state_file;
pub mod state_handed;
pub mod state_lock;
mod staying;
mod unmask;
mod written;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

pub use diff::{Diff, Difference, What};
pub use edit::{Edit, Problem, ProblemKind};
pub use mask::masked;
pub use overrides::Overrides;

use crate::base::limits;
use crate::config::{self, Config, Mistakes, ROOT, RouteTarget};
use normal::normal;
use state_file::Removal;

/// One accepted configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The number of the revision; the next one has the next number.
    pub number: u64,
    /// The time at which the revision came into force.
    pub time: SystemTime,
    /// As in [`crate::control::change_request::ChangeRequest::requested_by`].
    pub requested_by: String,
    /// The change, in words.
    pub summary: String,
}

/// The configuration in force, with its earlier revisions.
#[derive(Clone, Debug)]
pub struct ConfigStore {
    config: Config,
    document: toml::Table,
    /// The file as it was when it was last taken over.
    file: FileText,
    /// Newest first, never empty; the first one is in force.
    history: VecDeque<Kept>,
}

/// A file's text and the table that it is; both, because revisions keep only the smaller text.
#[derive(Clone, Debug)]
struct FileText {
    text: Arc<str>,
    table: toml::Table,
}

/// A revision, and what it takes to go back to it.
#[derive(Clone, Debug)]
struct Kept {
    revision: Revision,
    file: Arc<str>,
    overrides: Overrides,
    /// Backends that were being drained for removal.
    removals: Vec<Removal>,
}

/// A checked change that is not in force yet.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The checked configuration.
    pub config: Config,
    /// The text of `config` as a table.
    pub document: toml::Table,
    /// The changes of the API once this change is in force. They belong in the state file before that.
    pub overrides: Overrides,
    /// The change, on one line.
    pub summary: String,
    /// The differences, one by one.
    pub diff: Diff,
    /// Further remarks for the caller.
    pub notes: Vec<String>,
    /// Whether anything changes.
    pub changed: bool,
    /// Whether the file was read for the proposal.
    is_of_file: bool,
    file: FileText,
}

impl ConfigStore {
    /// Begins with revision 1: the file, and what the API said in an earlier life of the process. Also says what became
    /// of the latter.
    pub fn new(file: Config, overrides: Overrides, now: SystemTime) -> (ConfigStore, Vec<String>) {
        let file_text = FileText::of(&file);
        let merged = merge(file, &file_text.table, &overrides);
        let first = Kept {
            revision: Revision {
                number: 1,
                time: now,
                requested_by: "start".to_owned(),
                summary: "as the file says".to_owned(),
            },
            file: file_text.text.clone(),
            overrides: Overrides::between(&file_text.table, &merged.document),
            removals: Vec::new(),
        };
        let store = ConfigStore {
            config: merged.config,
            document: merged.document,
            file: file_text,
            history: VecDeque::from([first]),
        };
        (store, merged.notes)
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The text of the configuration as a table.
    pub fn document(&self) -> &toml::Table {
        &self.document
    }

    /// The digest of the file as it was last taken over.
    pub fn file_digest(&self) -> String {
        state_file::digest(&self.file.text)
    }

    /// The number of this pool's backends in the file.
    pub fn backends_in_file(&self, pool: &str) -> usize {
        let position = written::find_pool(&self.file.table, pool);
        position.map_or(0, |position| {
            written::read_pool(&self.file.table, position)
                .backends
                .len()
        })
    }

    /// The number of the revision in force.
    pub fn revision(&self) -> u64 {
        self.history[0].revision.number
    }

    /// The revisions that can be gone back to, newest first; at most [`limits::REVISIONS`].
    pub fn revisions(&self) -> Vec<Revision> {
        let kept = self.history.iter();
        kept.map(|kept| kept.revision.clone()).collect()
    }

    /// The pool that a request for `/` on any host reaches, else the first one; `None` if there is none at all.
    pub fn default_pool(&self) -> Option<String> {
        let settings = &self.config.settings;
        let mut routes = settings.routes.iter();
        let root = routes.find(|route| route.host.is_none() && route.prefix == "/");
        let reached = root.map(|route| match &route.target {
            RouteTarget::Pool(name) => name.value.clone(),
            RouteTarget::Own(pool) => pool.name.value.clone(),
        });
        reached.or_else(|| Some(settings.all_pools().next()?.name.value.clone()))
    }

    /// A change of one pool or backend. Errors: why it cannot be, each field named as in the edit's own table.
    pub fn propose(&self, edit: &Edit) -> Result<Proposal, Problem> {
        let mut document = self.document.clone();
        let outcome = edit.apply(&mut document, self.config.counts())?;
        let config = check(self.config.path.as_path(), &document)
            .map_err(|mistakes| outcome.subject.problem(&mistakes))?;
        staying::check(&self.config, &config, edit.pool())?;
        Ok(if outcome.is_there {
            self.proposal(
                self.config.clone(),
                self.document.clone(),
                self.file.clone(),
            )
        } else {
            self.proposal(config, document, self.file.clone())
        })
    }

    /// The file anew. What the API said stands unless the file changed the same thing, or it no longer fits the file.
    pub fn propose_file(&self, file: Config) -> Proposal {
        let file_text = FileText::of(&file);
        let merged = merge(file, &file_text.table, &self.history[0].overrides);
        let proposal = self.proposal(merged.config, merged.document, file_text);
        Proposal {
            notes: merged.notes,
            is_of_file: true,
            ..proposal
        }
    }

    /// The differences that taking this file over would make.
    pub fn diff(&self, file: &Config) -> Diff {
        let proposal = self.propose_file(file.clone());
        Diff {
            notes: proposal.notes,
            ..proposal.diff
        }
    }

    /// Notes the backends that are being drained for removal under the configuration in force.
    pub fn note_removals(&mut self, removals: Vec<Removal>) {
        self.history[0].removals = removals;
    }

    /// Proposes to go back to an earlier revision. A backend that was being drained for removal then, and was removed
    /// since, takes requests again, because no removal of it is under way any more. A drain that the file of that
    /// revision demands stays. Errors: the revision is not known, or is in force already.
    pub fn propose_revision(&self, number: u64) -> Result<Proposal, Problem> {
        let found = self
            .history
            .iter()
            .find(|kept| kept.revision.number == number);
        let kept = found.ok_or_else(|| {
            let text = format!("there is no revision {number} to go back to");
            Problem::new(ProblemKind::Absent, text)
        })?;
        if number == self.revision() {
            let text = format!("revision {number} is in force already");
            return Err(Problem::new(ProblemKind::Conflict, text));
        }
        let file = config::parse(&self.config.path, kept.file.to_string())
            .map_err(|mistakes| Problem::new(ProblemKind::Failed, mistakes.to_string()))?;
        let file_text = FileText::of(&file);
        let is_newer = file_text.text != self.file.text;
        let mut merged = merge(file, &file_text.table, &kept.overrides);
        let own_drains = kept.removals.iter().filter(|removal| {
            // The file demands the drain, whatever became of the removal.
            !apply::drains(&file_text.table, &removal.pool, &removal.addr)
        });
        let mut notes = self.bring_back(own_drains, &mut merged.document);
        if !notes.is_empty() {
            merged.config = check(&self.config.path, &merged.document)
                .map_err(|mistakes| Problem::new(ProblemKind::Failed, mistakes.to_string()))?;
        }
        let proposal = self.proposal(merged.config, merged.document, file_text);
        let note = "the file is as it was: the next reload or start takes it over again";
        notes.extend(is_newer.then(|| note.to_owned()));
        Ok(Proposal {
            summary: format!("back to revision {number}: {}", proposal.summary),
            notes,
            ..proposal
        })
    }

    /// Ends the drain of these backends in the document, except of those that are still being drained for removal.
    /// Returns the backends whose drain ends.
    fn bring_back<'r>(
        &self,
        removals: impl Iterator<Item = &'r Removal>,
        document: &mut toml::Table,
    ) -> Vec<String> {
        let now = &self.history[0].removals;
        let is_over = |one: &&Removal| {
            let mut now = now.iter();
            !now.any(|other| (&other.pool, &other.addr) == (&one.pool, &one.addr))
        };
        let mut notes = Vec::new();
        for Removal { pool, addr, .. } in removals.filter(is_over) {
            let undrained = Edit::PatchServer {
                pool: pool.clone(),
                addr: addr.clone(),
                settings: vec![("drain".to_owned(), None)],
            };
            if undrained.apply(document, self.config.counts()).is_ok() {
                notes.push(format!(
                    "backend {addr} of pool {pool:?} takes requests again: its removal is no longer under way"
                ));
            }
        }
        notes
    }

    /// Takes over what is in force now, as a new revision if anything changed; the number in force.
    pub fn accept(&mut self, proposal: Proposal, requested_by: &str, now: SystemTime) -> u64 {
        let file = proposal.file.text.clone();
        let overrides = proposal.overrides;
        if proposal.changed {
            let revision = Revision {
                number: self.revision() + 1,
                time: now,
                requested_by: requested_by.to_owned(),
                summary: proposal.summary,
            };
            self.history.truncate(limits::REVISIONS - 1);
            self.history.push_front(Kept {
                revision,
                file,
                overrides,
                removals: Vec::new(),
            });
        } else {
            let newest = &mut self.history[0];
            (newest.file, newest.overrides) = (file, overrides);
        }
        self.config = proposal.config;
        self.document = proposal.document;
        self.file = proposal.file;
        debug_assert!(
            self.history
                .iter()
                .is_sorted_by(|one, older| one.revision.number > older.revision.number),
            "the newest revision stands first"
        );
        self.revision()
    }

    fn proposal(&self, config: Config, document: toml::Table, file: FileText) -> Proposal {
        let is_rewritten =
            document != self.document && normal(&document, &ROOT) == normal(&self.document, &ROOT);
        // A document that is only written in another way is no new revision.
        let (config, document) = if is_rewritten {
            (self.config.clone(), self.document.clone())
        } else {
            (config, document)
        };
        let diff = Diff::between(&self.document, &document);
        Proposal {
            overrides: Overrides::between(&file.table, &document),
            summary: diff.summary(),
            changed: document != self.document,
            diff,
            notes: Vec::new(),
            is_of_file: false,
            config,
            document,
            file,
        }
    }
}

impl Proposal {
    /// Whether the file was read for this proposal.
    pub fn is_of_file(&self) -> bool {
        self.is_of_file
    }

    /// The digest of the file that this proposal is made from.
    pub fn file_digest(&self) -> String {
        state_file::digest(&self.file.text)
    }
}

impl FileText {
    fn of(config: &Config) -> FileText {
        FileText {
            text: config.text().into(),
            table: config.document(),
        }
    }
}

/// A file with the overrides of the API.
struct Merged {
    config: Config,
    document: toml::Table,
    notes: Vec<String>,
}

fn merge(file: Config, table: &toml::Table, overrides: &Overrides) -> Merged {
    let merged = overrides.over(table, &|document| check(&file.path, document));
    Merged {
        // The file's own text where nothing differs: its lines are the operator's.
        config: merged.config.unwrap_or(file),
        document: merged.document,
        notes: merged.notes,
    }
}

/// The only check that there is: the one of a file.
fn check(path: &Path, document: &toml::Table) -> Result<Config, Mistakes> {
    config::parse(path, document.to_string())
}

#[cfg(test)]
mod tests;
