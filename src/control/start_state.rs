//! The state that a start takes over from an earlier process: from the state file, or from the old process of an
//! upgrade if that process kept the state elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::config_store::state_file::{self, SavedState};
use super::config_store::state_handed;
use super::config_store::state_lock::StateLock;
use crate::base::limits;
use crate::net::Handed;

/// The state, and the lock of the state file.
#[derive(Clone, Debug, Default)]
pub struct StartState {
    /// The state.
    pub state: SavedState,
    /// The lock of the state file, if there is one.
    pub lock: Option<Arc<StateLock>>,
    /// The path where the state is to be written, because the old process kept it elsewhere.
    new_place: Option<PathBuf>,
}

impl StartState {
    /// The state for a process whose state file is at `path`. An old process has handed over its state and its lock, if
    /// there is one. Blocks. Errors: another process has the state file, the file cannot be used, or the old process's
    /// state cannot be read: to go on without it would take back changes that the management API has confirmed.
    pub fn find(path: Option<&Path>, handed: &mut Handed) -> Result<StartState, String> {
        if let Some(unreadable) = handed.unreadable.iter().find(|one| is_state(&one.name)) {
            let reason = &unreadable.reason;
            return Err(format!(
                "the state that the old process hands over: {reason}"
            ));
        }
        let lock = handed.lock.take();
        let patience = Duration::from_millis(limits::BIND_WAIT_MILLIS);
        let take = |path| match lock.and_then(|lock| StateLock::handed(path, lock)) {
            Some(lock) => Ok(lock),
            None => StateLock::take(path, patience),
        };
        let lock = path.map(take).transpose()?.map(Arc::new);
        let there = path.map(state_file::load).transpose()?;
        let told = state_handed::from_blobs(&handed.blobs)?.filter(|told| !told.is_at(path));
        Ok(match told {
            Some(told) => StartState {
                state: told.state,
                lock,
                new_place: path.map(Path::to_owned),
            },
            None => StartState {
                state: there.unwrap_or_default(),
                lock,
                new_place: None,
            },
        })
    }

    /// Writes the state that the old process kept elsewhere. Blocks. Errors: the file cannot be written.
    pub fn write(&self) -> Result<(), String> {
        let write = |path: &PathBuf| state_file::save(path, &self.state, || true);
        let written = self.new_place.as_ref().map_or(Ok(()), write);
        written.map_err(|problem| problem.to_string())
    }
}

fn is_state(title: &str) -> bool {
    title.split('\t').next() == Some(state_handed::STATE.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::UnreadableBlob;

    #[test]
    fn a_state_that_cannot_be_read_is_not_taken_for_none() {
        let unreadable = |name: &str| Handed {
            unreadable: vec![UnreadableBlob {
                name: name.to_owned(),
                reason: "the message is broken".to_owned(),
            }],
            ..Handed::default()
        };
        for (name, is_refused) in [("state", true), ("state\t1", true), ("health", false)] {
            let found = StartState::find(None, &mut unreadable(name));
            assert_eq!(found.is_err(), is_refused, "{name:?}");
        }
    }
}
