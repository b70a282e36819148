//! What an old process tells the new one of what is to outlive it, so that the new one may keep it at another place than
//! the old one did, or where the old one kept it nowhere.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state_file::State;
use crate::net::Blob;

const NAME: &str = "state";
/// A JSON object: the path of the state file, if there is one, and what stands in it.
const VERSION: u32 = 1;

/// What the old process has.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HandedState {
    /// The old process's state file; `None`: there is none.
    pub path: Option<PathBuf>,
    pub state: State,
}

impl HandedState {
    /// Whether a process with this state file finds all of it there.
    pub fn is_at(&self, path: Option<&Path>) -> bool {
        path.is_some() && self.path.as_deref() == path
    }
}

/// What the new process is told. Errors: it cannot be written down, such as for a path that is no text.
pub fn to_blob(path: Option<&Path>, state: &State) -> Result<Blob, String> {
    let handed = HandedState {
        path: path.map(Path::to_owned),
        state: state.clone(),
    };
    let bytes = serde_json::to_vec(&handed);
    Ok(Blob {
        name: NAME.to_owned(),
        version: VERSION,
        bytes: bytes.map_err(|error| error.to_string())?,
    })
}

/// What the old process has told. `None`: nothing, or in another version. Errors: it is something else.
pub fn from_blobs(blobs: &[Blob]) -> Result<Option<HandedState>, String> {
    let is_it = |blob: &&Blob| blob.name == NAME && blob.version == VERSION;
    let Some(blob) = blobs.iter().find(is_it) else {
        return Ok(None);
    };
    let handed = serde_json::from_slice(&blob.bytes);
    handed
        .map(Some)
        .map_err(|error| format!("the state that the old process hands over: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_and_a_place_is_the_same_or_not() {
        let state = State {
            taken_back: Some("digest".to_owned()),
            ..State::default()
        };
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        let rows = [
            (Some(a), Some(a), true),
            (Some(a), Some(b), false),
            (Some(a), None, false),
            (None, Some(a), false),
            (None, None, false),
        ];
        for (before, after, is_there) in rows {
            let blob = to_blob(before, &state).unwrap();
            let handed = from_blobs(&[blob]).unwrap().unwrap();
            assert_eq!(handed.path.as_deref(), before);
            assert_eq!(handed.state, state);
            assert_eq!(handed.is_at(after), is_there, "{before:?} {after:?}");
        }
        assert_eq!(from_blobs(&[]), Ok(None));
        let mut broken = to_blob(None, &state).unwrap();
        broken.bytes = b"{}x".to_vec();
        assert!(from_blobs(&[broken]).is_err());
    }
}
