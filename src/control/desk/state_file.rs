//! What the API has said, in a file that outlives the process. A kill at any moment leaves the old file or the new one.

use std::io::ErrorKind;
use std::path::Path;

use super::edit::{Problem, ProblemKind};
use super::overlay::Overlay;
use crate::base::{file, limits};

/// What the file says; nothing if there is none yet. Errors: it cannot be read, or is not what [`save`] wrote.
pub fn load(path: &Path) -> Result<Overlay, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("state file {}: {why}", path.display());
    let bytes = match file::read(path, limits::STATE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Overlay::default()),
        Err(error) => return Err(cannot(&error)),
    };
    serde_json::from_slice(&bytes).map_err(|error| cannot(&error))
}

/// Puts this in the place of what the file says, and returns when it is on the disk; not if `may` says, just before it
/// would be, that it must not. Blocks. Errors: it is not, and the file is as it was.
pub fn save(path: &Path, said: &Overlay, may: impl FnOnce() -> bool) -> Result<(), Problem> {
    let failed = |why: &dyn std::fmt::Display| {
        let text = format!("state file {}: {why}", path.display());
        Problem::new(ProblemKind::Failed, text)
    };
    let mut text = serde_json::to_vec_pretty(said).map_err(|error| failed(&error))?;
    text.push(b'\n');
    if text.len() as u64 > limits::STATE_BYTES {
        let why = format!("would be larger than {} bytes", limits::STATE_BYTES);
        return Err(failed(&why));
    }
    match file::replace_if(path, &text, may) {
        Ok(true) => Ok(()),
        Ok(false) => Err(failed(&"it took too long to write it")),
        Err(error) => Err(failed(&error)),
    }
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

    fn said(weight: i64) -> Overlay {
        let file = "[[pools]]\nname = \"api\"\nbackends = [\"127.0.0.1:1\", \"127.0.0.1:2\"]";
        let now = format!(
            "[[pools]]\nname = \"api\"\nbackends = [{{ addr = \"[::1]:1\", weight = {weight}, remove_after_secs = 1.0 }}]"
        );
        Overlay::between(&file.parse().unwrap(), &now.parse().unwrap())
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = folder("round");
        let path = folder.join("state.json");
        assert_eq!(load(&path), Ok(Overlay::default()));
        for weight in [1, 2] {
            save(&path, &said(weight), || true).unwrap();
            assert_eq!(load(&path), Ok(said(weight)));
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
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
    fn a_save_that_fails_leaves_the_old_word() {
        let folder = folder("failing");
        let path = folder.join("state.json");
        save(&path, &said(1), || true).unwrap();
        fs::create_dir(file::beside(&path)).unwrap();
        let problem = save(&path, &said(2), || true).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::Failed);
        assert_eq!(load(&path), Ok(said(1)));
        fs::remove_dir_all(&folder).unwrap();
    }

    /// Names the file to this test's other half.
    const FILE: &str = "PALANTIR_TEST_STATE_FILE";
    const KILLED: &str =
        "control::desk::state_file::tests::a_kill_at_any_moment_leaves_the_old_or_the_new_word";

    /// Two halves: one saves all the time, the other one kills it and looks at what it left.
    #[test]
    fn a_kill_at_any_moment_leaves_the_old_or_the_new_word() {
        if let Some(path) = std::env::var_os(FILE) {
            for weight in (1..=256).cycle() {
                save(Path::new(&path), &said(weight), || true).unwrap();
            }
        }
        let folder = folder("killed");
        let path = folder.join("state.json");
        let all: Vec<Overlay> = (1..=256).map(said).collect();
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
        save(&path, &said(1), || true).unwrap();
        fs::write(file::beside(&path), "{\"pools\": [{").unwrap();
        assert_eq!(load(&path), Ok(said(1)));
        save(&path, &said(2), || true).unwrap();
        assert_eq!(load(&path), Ok(said(2)));
        fs::remove_dir_all(&folder).unwrap();
    }
}
