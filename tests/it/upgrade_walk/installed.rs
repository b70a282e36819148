//! The program in a folder of its own, and what may stand in its place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::support::place::Directory;
use crate::support::proxy::end_with_this_thread;

/// The program in a folder of its own, where another one can be put in its place.
pub struct Installed {
    pub folder: Directory,
}

impl Installed {
    pub fn new() -> Installed {
        let installed = Installed {
            folder: Directory::new(),
        };
        fs::copy(env!("CARGO_BIN_EXE_palantir"), installed.program()).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_palantir"), installed.real()).unwrap();
        installed
    }

    pub fn program(&self) -> PathBuf {
        self.folder.path().join("palantir")
    }

    /// Where the program is found by what stands in its place.
    pub fn real(&self) -> PathBuf {
        self.folder.path().join("real")
    }

    /// From now on the next process is what `line` of a shell makes of `$REAL` and its arguments.
    pub fn become_script(&self, line: &str) {
        let text = format!("#!/bin/sh\nREAL={}\n{line}\n", self.real().display());
        let new = self.folder.write("script", &text);
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.program()).unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        command.env_remove("RUST_LOG");
        end_with_this_thread(&mut command);
        command
    }
}
