//! Shims between the proxy and the C library for some tests: names that do not answer, a clock that is set. Each shim
//! is a file of `tests/shim`, which says how a test controls it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::place::Directory;

/// The library, built once by each test process.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let (built, library) = (
            folder.join(format!("shim-{}.so", std::process::id())),
            folder.join("shim.so"),
        );
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim");
        let mut sources: Vec<PathBuf> = fs::read_dir(sources)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        sources.sort();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]);
        let status = cc.arg(&built).args(sources).arg("-ldl").status();
        assert!(status.expect("cc, which Rust needs too").success());
        // Another test process may be using the one that is there.
        fs::rename(built, &library).unwrap();
        library
    })
}

/// Names as a test wants them.
pub struct Names {
    directory: Directory,
}

impl Names {
    /// Each line a name and what is to be found: see `tests/shim/names.c`.
    pub fn new(lines: &str) -> Names {
        let names = Names {
            directory: Directory::new(),
        };
        names.set(lines);
        names
    }

    /// Puts other lines in the place of all.
    pub fn set(&self, lines: &str) {
        let new = self.directory.write("names.new", lines);
        fs::rename(new, self.path()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("names")
    }

    /// Makes a command look names up here.
    pub fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library());
        command.env("SHIM_NAMES", self.path());
    }
}

/// The wall clock of a process.
pub struct Clock {
    directory: Directory,
}

impl Clock {
    /// A clock that is this many seconds ahead.
    pub fn ahead(secs: i64) -> Clock {
        let clock = Clock {
            directory: Directory::new(),
        };
        clock.set(secs);
        clock
    }

    /// Sets it so many seconds ahead of the right time, or behind.
    pub fn set(&self, secs: i64) {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let file = options.open(self.path()).unwrap();
        file.write_all_at(&secs.to_ne_bytes(), 0).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("clock")
    }

    /// Makes a command read this clock.
    pub fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library());
        command.env("SHIM_CLOCK", self.path());
    }
}

/// A disk that hangs where a test wants it to.
pub struct Disk {
    directory: Directory,
}

impl Disk {
    /// To open or to sync what lies below this path has no end.
    pub fn hanging(path: &Path) -> Disk {
        let disk = Disk::sound();
        disk.hang(path);
        disk
    }

    /// A disk that does not hang.
    pub fn sound() -> Disk {
        Disk {
            directory: Directory::new(),
        }
    }

    /// Has what lies below this path hang from now on, and nothing else.
    pub fn hang(&self, path: &Path) {
        let new = self
            .directory
            .write("disk.new", &format!("{}\n", path.display()));
        fs::rename(new, self.path()).unwrap();
    }

    /// Lets everything go on.
    pub fn go_on(&self) {
        fs::remove_file(self.path()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Makes a command use this disk.
    pub fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library());
        command.env("SHIM_DISK", self.path());
    }
}

/// A disk on which no sync of a folder ends until this is dropped.
pub struct HeldSync {
    directory: Directory,
}

impl HeldSync {
    pub fn new() -> HeldSync {
        let directory = Directory::new();
        directory.write("hold", "");
        HeldSync { directory }
    }

    /// Makes a command write to this disk.
    pub fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library());
        command.env("SHIM_SYNC", self.directory.path().join("hold"));
    }
}
