//! The state that an old process hands to the new one, so that the new process can keep it at another path than the old
//! one, or at all if the old process had no state file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state_file::SavedState;
use crate::net::{Blob, BlobKind};

/// The bytes are a JSON object: the path of the state file, if there is one, and the content of the file.
pub const STATE: BlobKind = BlobKind {
    name: "state",
    version: 1,
};

/// The state of the old process.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HandedState {
    /// The path of the old process's state file; `None`: the old process has none.
    pub path: Option<PathBuf>,
    /// The content of the state file.
    pub state: SavedState,
}

impl HandedState {
    /// Whether the state file at `path` already holds this state.
    pub fn is_at(&self, path: Option<&Path>) -> bool {
        path.is_some() && self.path.as_deref() == path
    }
}

/// The message to the new process. Errors: the state cannot be encoded, for example because a path is not UTF-8.
pub fn to_blob(path: Option<&Path>, state: &SavedState) -> Result<Blob, String> {
    let handed = HandedState {
        path: path.map(Path::to_owned),
        state: state.clone(),
    };
    let bytes = serde_json::to_vec(&handed);
    Ok(STATE.blob(bytes.map_err(|error| error.to_string())?))
}

/// The state that the old process sent. `None`: the old process sent none, or in another version. Errors: the message
/// is malformed.
pub fn from_blobs(blobs: &[Blob]) -> Result<Option<HandedState>, String> {
    let Some(bytes) = STATE.find(blobs) else {
        return Ok(None);
    };
    let handed = serde_json::from_slice(bytes);
    handed
        .map(Some)
        .map_err(|error| format!("the state that the old process hands over: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_and_a_place_is_the_same_or_not() {
        let state = SavedState {
            taken_back: Some("digest".to_owned()),
            ..SavedState::default()
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
