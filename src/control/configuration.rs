//! The configuration of the process: what the operator and the API have said, what of that is on the disk, and the
//! snapshot that is in force.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::control::change::Saved;
use crate::control::change_request::{CompletedOperation, InForce, Standing};
use crate::control::config_store::{ConfigStore, Diff, Problem, ProblemKind, Proposal};
use crate::snapshot::Snapshot;

/// The configuration, with everything that describes which one is in force. Only the control thread changes it.
pub(super) struct Configuration {
    /// The file, and what the API has changed against it.
    pub config_store: Arc<ConfigStore>,
    /// The content of the state file, and its path.
    pub saved: Arc<Saved>,
    /// As in [`crate::control::config_store::state_file::SavedState::taken_back`].
    pub taken_back: Option<String>,
    /// The compiled form that the workers use.
    pub snapshot: Arc<Snapshot>,
    /// Shows the configuration to tasks that only read it.
    pub standing: watch::Sender<Arc<InForce>>,
}

impl Configuration {
    /// The configuration of a process that starts.
    pub fn new(config_store: ConfigStore, saved: Saved, snapshot: Arc<Snapshot>) -> Configuration {
        let in_force = InForce::new(&config_store, &snapshot);
        Configuration {
            config_store: Arc::new(config_store),
            saved: Arc::new(saved),
            taken_back: None,
            snapshot,
            standing: watch::Sender::new(Arc::new(in_force)),
        }
    }

    /// The configuration in force, for a task that only reads it.
    pub fn standing(&self) -> Standing {
        self.standing.subscribe()
    }

    /// Shows the present configuration to tasks that only read it. `draining`: whether a stop has begun; `retired`:
    /// whether another process has taken over.
    pub fn publish(&self, draining: bool, retired: bool) {
        let in_force = InForce {
            draining,
            retired,
            ..InForce::new(&self.config_store, &self.snapshot)
        };
        self.standing.send_replace(Arc::new(in_force));
    }

    /// Checks the condition of a request. Errors: another revision than `if_match` is in force.
    pub fn must_match(&self, if_match: Option<u64>) -> Result<(), Problem> {
        let revision = self.config_store.revision();
        if if_match.is_some_and(|wanted| wanted != revision) {
            let text = format!("the revision in force is {revision}");
            return Err(Problem::new(ProblemKind::Changed, text));
        }
        Ok(())
    }

    /// The answer to a request that changes nothing.
    pub fn unchanged(&self) -> CompletedOperation {
        CompletedOperation {
            revision: self.config_store.revision(),
            changed: false,
            notes: Vec::new(),
            diff: Diff::default(),
            in_force: self.standing.borrow().clone(),
        }
    }

    /// Makes the proposal the configuration, and returns its revision.
    pub fn accept(&mut self, proposal: Proposal, requested_by: &str) -> u64 {
        let config_store = Arc::make_mut(&mut self.config_store);
        let revision = config_store.accept(proposal, requested_by, SystemTime::now());
        config_store.note_removals(self.saved.state.removals.clone());
        revision
    }

    /// Notes what is on the disk now.
    pub fn note_saved(&mut self, saved: Saved) {
        self.saved = Arc::new(saved);
    }

    /// Leaves the state file to another process, as soon as no piece of work can write the file any more.
    pub fn forget_lock(&mut self) {
        Arc::make_mut(&mut self.saved).lock = None;
    }

    /// The value of [`Configuration::taken_back`] after this change: the digest of the last file that was loaded, if
    /// the change brings another file into force.
    pub fn taken_back_with(&self, proposal: &Proposal) -> Option<String> {
        if proposal.is_of_file() {
            return None;
        }
        let loaded = self.taken_back.clone();
        let loaded = loaded.unwrap_or_else(|| self.config_store.file_digest());
        (proposal.file_digest() != loaded).then_some(loaded)
    }

    /// Takes over from the saved state which file a rollback has taken back, and returns its digest if that is new.
    /// `is_trial`: the saved digest only says that nobody has confirmed the file.
    pub fn note_taken_back(&mut self, is_trial: bool) -> Option<String> {
        let taken_back = self.saved.state.taken_back.clone();
        let taken_back = taken_back.filter(|_| !is_trial);
        let is_new = taken_back != self.taken_back;
        self.taken_back.clone_from(&taken_back);
        taken_back.filter(|_| is_new)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;
    use crate::control::config_store::{Edit, Overrides};
    use crate::snapshot::sample;

    const FILE: &str = "[[pools]]\nname = \"api\"\nbackends = [\"127.0.0.1:1\"]\n";

    fn configuration() -> Configuration {
        let config = config::parse(Path::new("test.toml"), FILE.to_owned()).unwrap();
        let (config_store, _) = ConfigStore::new(config, Overrides::default(), SystemTime::now());
        Configuration::new(
            config_store,
            Saved::default(),
            sample::snapshot(1, Vec::new()),
        )
    }

    fn drain() -> Edit {
        Edit::PatchServer {
            pool: "api".to_owned(),
            addr: "127.0.0.1:1".to_owned(),
            settings: vec![("weight".to_owned(), Some(7.into()))],
        }
    }

    #[test]
    fn a_condition_holds_for_the_revision_in_force_only() {
        let configuration = configuration();
        let revision = configuration.config_store.revision();
        assert_eq!(configuration.must_match(None), Ok(()));
        assert_eq!(configuration.must_match(Some(revision)), Ok(()));
        let refused = configuration.must_match(Some(revision + 1)).unwrap_err();
        assert_eq!(refused.kind, ProblemKind::Changed);
    }

    #[test]
    fn an_accepted_proposal_is_a_new_revision_that_is_shown_when_it_is_published() {
        let mut configuration = configuration();
        let standing = configuration.standing();
        let before = configuration.config_store.revision();
        let proposal = configuration.config_store.propose(&drain()).unwrap();
        let revision = configuration.accept(proposal, "a test");
        assert_eq!(revision, before + 1);
        assert_eq!(standing.borrow().revision, before);
        configuration.publish(true, false);
        let shown = standing.borrow();
        assert_eq!(
            (shown.revision, shown.draining, shown.retired),
            (revision, true, false)
        );
        drop(shown);
        let unchanged = configuration.unchanged();
        assert_eq!((unchanged.revision, unchanged.changed), (revision, false));
    }

    #[test]
    fn a_file_is_taken_back_by_a_rollback_and_not_by_a_trial() {
        // Columns: what the state file says, whether that is a trial, what counts, and what is new.
        let rows = [
            (Some("a"), false, Some("a"), Some("a")),
            (Some("a"), false, Some("a"), None),
            (Some("b"), true, None, None),
            (Some("b"), false, Some("b"), Some("b")),
            (None, false, None, None),
        ];
        let mut configuration = configuration();
        for (saved, is_trial, taken_back, new) in rows {
            let mut now = Saved::default();
            now.state.taken_back = saved.map(str::to_owned);
            configuration.note_saved(now);
            assert_eq!(configuration.note_taken_back(is_trial).as_deref(), new);
            assert_eq!(configuration.taken_back.as_deref(), taken_back);
        }
    }
}
