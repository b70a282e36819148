//! The state file: the changes that the API has made, and the removals that are still under way, kept for the next
//! process. A kill at any moment leaves the old file or the new one.
//!
//! Empty parts are not written. Earlier versions refuse parts that they do not know, and so can read the file whenever
//! no drain is under way, no file was taken back, and no pool has lost backends in an outage.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::edit::{Problem, ProblemKind};
use super::overrides::{Overrides, PoolOverrides};
use crate::base::{file, limits};

/// The state that outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct SavedState {
    /// The changes that the API has made.
    pub overrides: Overrides,
    /// Backends that are drained for removal.
    pub removals: Vec<Removal>,
    /// The digest ([`digest`]) of the configuration file that was loaded last, if a rollback has taken it back, or if
    /// it is on trial.
    pub taken_back: Option<String>,
    /// The number of backends that each pool has lost in an outage that may not be over (`remove_after`).
    pub lost: BTreeMap<String, usize>,
}

/// A backend that is drained for removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// The name of the pool.
    pub pool: String,
    /// The address of the backend, as the configuration writes it.
    pub addr: String,
    /// When the drain began, in seconds since 1970.
    pub since: u64,
    /// How long the drain may take, in seconds.
    pub patience: u64,
    /// The caller that asked for the drain.
    #[serde(rename = "origin")]
    pub requested_by: String,
}

/// The JSON form of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    pools: Vec<PoolOverrides>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(rename = "departures")]
    removals: Vec<Removal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken_back: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    lost: BTreeMap<String, usize>,
}

impl From<Form> for SavedState {
    fn from(form: Form) -> SavedState {
        SavedState {
            overrides: Overrides { pools: form.pools },
            removals: form.removals,
            taken_back: form.taken_back,
            lost: form.lost,
        }
    }
}

impl From<SavedState> for Form {
    fn from(state: SavedState) -> Form {
        Form {
            pools: state.overrides.pools,
            removals: state.removals,
            taken_back: state.taken_back,
            lost: state.lost,
        }
    }
}

impl Removal {
    /// The seconds that are left of the drain. If the clock was set back to before the drain began, that is the whole
    /// time and no more.
    pub fn left(&self, now: u64) -> u64 {
        self.patience - now.saturating_sub(self.since).min(self.patience)
    }
}

/// The digest of a configuration file's text (SHA-256, in hexadecimal), which tells one text from another.
pub fn digest(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The content of the file; the default if there is no file yet. Errors: the file cannot be read, or does not have the
/// form that [`save`] writes.
pub fn load(path: &Path) -> Result<SavedState, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("state file {}: {why}", path.display());
    let bytes = match file::read(path, limits::STATE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(SavedState::default()),
        Err(error) => return Err(cannot(&error)),
    };
    serde_json::from_slice(&bytes).map_err(|error| cannot(&error))
}

/// Replaces the file, and returns when the new content is on the disk. `may` is asked just before the replacement; if
/// it returns false, the file stays as it was. Blocks. Errors: the new content is not on the disk, and the file is as
/// it was.
pub fn save(path: &Path, state: &SavedState, may: impl FnOnce() -> bool) -> Result<(), Problem> {
    let failed = |why: &dyn std::fmt::Display| {
        let text = format!("state file {}: {why}", path.display());
        Problem::new(ProblemKind::Failed, text)
    };
    let text = text_of(state).map_err(|why| failed(&why))?;
    match file::replace_if(path, &text, may) {
        Ok(true) => Ok(()),
        Ok(false) => Err(failed(&"writing it took too long")),
        Err(error) => Err(failed(&error)),
    }
}

/// Checks that a state could be saved and handed over to another process. Errors: the state is too large for that.
pub fn check_size(state: &SavedState) -> Result<(), Problem> {
    let failed = |why: String| {
        let text = format!("the changes of the management API, which an upgrade hands over, {why}");
        Problem::new(ProblemKind::Failed, text)
    };
    text_of(state).map(drop).map_err(failed)
}

fn text_of(state: &SavedState) -> Result<Vec<u8>, String> {
    let mut text = serde_json::to_vec_pretty(state).map_err(|error| error.to_string())?;
    text.push(b'\n');
    if text.len() as u64 > limits::STATE_BYTES {
        return Err(format!(
            "would be larger than {} bytes",
            limits::STATE_BYTES
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("palantir-state-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn overrides(weight: i64) -> SavedState {
        let file = "[[pools]]\nname = \"api\"\nbackends = [\"127.0.0.1:1\", \"127.0.0.1:2\"]";
        let now = format!(
            "[[pools]]\nname = \"api\"\nbackends = [{{ addr = \"[::1]:1\", weight = {weight}, remove_after_secs = 1.0 }}]"
        );
        SavedState {
            overrides: Overrides::between(&file.parse().unwrap(), &now.parse().unwrap()),
            ..SavedState::default()
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = folder("round");
        let path = folder.join("state.json");
        assert_eq!(load(&path), Ok(SavedState::default()));
        for weight in [1, 2] {
            save(&path, &overrides(weight), || true).unwrap();
            assert_eq!(load(&path), Ok(overrides(weight)));
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_still_to_be_done_is_kept_and_its_time_follows_the_clock() {
        let removal = Removal {
            pool: "api".to_owned(),
            addr: "127.0.0.1:1".to_owned(),
            since: 1_000,
            patience: 60,
            requested_by: "api 127.0.0.1:5".to_owned(),
        };
        let rows = [(1_000, 60), (1_010, 50), (1_060, 0), (900_000, 0), (3, 60)];
        for (now, left) in rows {
            assert_eq!(removal.left(now), left, "{now}");
        }
        let state = SavedState {
            removals: vec![removal],
            taken_back: Some(digest("a")),
            lost: BTreeMap::from([("api".to_owned(), 2)]),
            ..overrides(1)
        };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<SavedState>(&text).unwrap(), state);
        // Without removals and a digest, the file has the form of earlier versions.
        let text = serde_json::to_string(&overrides(1)).unwrap();
        assert_eq!(
            text,
            serde_json::to_string(&overrides(1).overrides).unwrap()
        );
    }

    #[test]
    fn a_file_that_is_something_else_is_an_error_that_names_it() {
        let folder = folder("broken");
        let path = folder.join("state.json");
        for text in [
            "",
            "{",
            "{\"pools\": 1}",
            "{\"pools\": [], \"more\": 1}",
            "[]x",
        ] {
            fs::write(&path, text).unwrap();
            let error = load(&path).unwrap_err();
            assert!(error.contains("state.json: "), "{text:?}: {error}");
        }
        assert!(load(&folder).unwrap_err().contains("state file"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_save_that_fails_leaves_the_old_state() {
        let folder = folder("failing");
        let path = folder.join("state.json");
        save(&path, &overrides(1), || true).unwrap();
        fs::create_dir(file::beside(&path)).unwrap();
        let problem = save(&path, &overrides(2), || true).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::Failed);
        assert_eq!(load(&path), Ok(overrides(1)));
        fs::remove_dir_all(&folder).unwrap();
    }

    /// Names the file to this test's other half.
    const FILE: &str = "PALANTIR_TEST_STATE_FILE";
    const KILLED: &str = "control::config_store::state_file::tests::a_kill_at_any_moment_leaves_the_old_or_the_new_state";

    /// Two halves: one saves all the time, the other one kills it and looks at what it left.
    #[test]
    fn a_kill_at_any_moment_leaves_the_old_or_the_new_state() {
        if let Some(path) = std::env::var_os(FILE) {
            for weight in (1..=256).cycle() {
                save(Path::new(&path), &overrides(weight), || true).unwrap();
            }
        }
        let folder = folder("killed");
        let path = folder.join("state.json");
        let all: Vec<SavedState> = (1..=256).map(overrides).collect();
        for round in 0..30 {
            let _ = fs::remove_file(&path);
            let mut saving = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", KILLED])
                .env(FILE, &path)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            while !path.exists() {
                assert_eq!(saving.try_wait().unwrap(), None, "it ended by itself");
                thread::sleep(Duration::from_micros(100));
            }
            thread::sleep(Duration::from_micros(700 * round));
            saving.kill().unwrap();
            saving.wait().unwrap();
            let left = load(&path).unwrap();
            assert!(all.contains(&left), "{left:?}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_unfinished_write_is_not_looked_at() {
        let folder = folder("unfinished");
        let path = folder.join("state.json");
        save(&path, &overrides(1), || true).unwrap();
        fs::write(file::beside(&path), "{\"pools\": [{").unwrap();
        assert_eq!(load(&path), Ok(overrides(1)));
        save(&path, &overrides(2), || true).unwrap();
        assert_eq!(load(&path), Ok(overrides(2)));
        fs::remove_dir_all(&folder).unwrap();
    }
}
