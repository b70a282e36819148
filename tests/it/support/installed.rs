//! The program at a path where a test can put another one, for upgrades, and the processes that run it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::LazyLock;

use super::place::Directory;
use super::proxy::end_with_this_thread;

/// The program in a folder of its own, where a test can replace it.
pub struct Installed {
    pub folder: Directory,
}

impl Installed {
    pub fn new() -> Installed {
        let installed = Installed {
            folder: Directory::new(),
        };
        copy_program(&installed.program());
        copy_program(&installed.real());
        installed
    }

    pub fn program(&self) -> PathBuf {
        self.folder.path().join("palantir")
    }

    /// The path under which a replacement finds the real program.
    pub fn real(&self) -> PathBuf {
        self.folder.path().join("real")
    }

    /// Replaces the program by a shell script: the next process is what `line` makes of `$REAL` and its arguments.
    pub fn become_script(&self, line: &str) {
        let text = format!("#!/bin/sh\nREAL={}\n{line}\n", self.real().display());
        write_script(&self.program(), &text);
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        command.env_remove("RUST_LOG");
        end_with_this_thread(&mut command);
        command
    }
}

/// Puts a script in the place of a file.
pub fn write_script(path: &Path, text: &str) {
    let (draft, new) = (path.with_extension("draft"), path.with_extension("new"));
    fs::write(&draft, text).unwrap();
    copy(&draft, &new);
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, path).unwrap();
}

/// Copies the program, without what a debugger reads: more than half of the file, which every upgrade copies, too.
pub fn copy_program(to: &Path) {
    static STRIPPED: LazyLock<PathBuf> = LazyLock::new(strip);
    copy(&STRIPPED, to);
}

/// The program without what a debugger reads. The file of an earlier run is replaced, and other runs at this moment
/// either find that file or this one.
fn strip() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let stripped = folder.join("palantir-stripped");
    let draft = folder.join(format!("palantir-stripped-{}", process::id()));
    let mut strip = Command::new("strip");
    let strip = strip.args(["--strip-debug", "-o"]).arg(&draft);
    let strip = strip.arg(env!("CARGO_BIN_EXE_palantir")).status();
    assert!(strip.unwrap().success(), "strip");
    fs::rename(draft, &stripped).unwrap();
    stripped
}

/// Another process copies: a file that this one has open for writing is inherited by the processes that other tests
/// start at that moment, and cannot be run as long as they have it.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args([from, to]).status();
    assert!(copied.unwrap().success(), "cp");
}

/// The processes of the program that use the configuration in this folder.
pub fn processes(config: &Path) -> Vec<i32> {
    let config = config.to_str().unwrap();
    let folders = fs::read_dir("/proc").unwrap().flatten();
    let pids = folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(config)
    })
    .collect()
}
