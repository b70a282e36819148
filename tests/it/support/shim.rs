//! Shims between the proxy and the C library for some tests: names that do not answer, a clock that is set, files that
//! fail or hang, programs that do not begin. Each shim is a file of `tests/shim`, which says how a test controls it.

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
        // Another test process may be using the present library.
        fs::rename(built, &library).unwrap();
        library
    })
}

/// The answers of look-ups, as a test wants them.
pub struct Names {
    directory: Directory,
}

impl Names {
    /// Each line has a name and its answer: see `tests/shim/names.c`.
    pub fn new(lines: &str) -> Names {
        let names = Names {
            directory: Directory::new(),
        };
        names.set(lines);
        names
    }

    /// Replaces all lines.
    pub fn set(&self, lines: &str) {
        let new = self.directory.write("names.new", lines);
        fs::rename(new, self.path()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("names")
    }

    /// Makes a command look names up by these lines.
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

    /// Sets the clock to this many seconds ahead of the right time, or behind it if negative.
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

/// The calls of a process on files below the temporary folders of the tests.
pub struct Disk {
    directory: Directory,
}

/// The fault that strikes a call on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The call fails with this error number.
    Error(i32),
    /// The call does not return until it is let go.
    Hang,
}

/// The offsets of the fields of `struct control` in `tests/shim/disk.c`.
const ON: u64 = 0;
const ERROR: u64 = 4;
const NUMBER: u64 = 8;
const SEEN: u64 = 12;
const IS_HIT: u64 = 16;
const LET_GO: u64 = 20;
const WANTED: u64 = 24;
const HUNG: u64 = 256;
const CONTROL_BYTES: usize = 512;

impl Disk {
    /// A disk on which nothing fails, and no call is noted.
    pub fn new() -> Disk {
        let disk = Disk {
            directory: Directory::new(),
        };
        fs::write(disk.path(), [0; CONTROL_BYTES]).unwrap();
        disk
    }

    /// Notes all calls from now on.
    pub fn note_calls(&self) {
        let _ = fs::remove_file(self.calls_path());
        self.set(ON, 1);
    }

    /// Notes all calls from now on, and strikes one of them: number `number` of those whose noted line is `wanted`.
    pub fn strike(&self, wanted: &str, number: usize, strike: Strike) {
        self.set(ON, 0);
        let mut bytes = format!("{wanted}\n").into_bytes();
        bytes.resize((HUNG - WANTED) as usize, 0);
        self.control().write_all_at(&bytes, WANTED).unwrap();
        self.set(
            ERROR,
            match strike {
                Strike::Error(number) => number,
                Strike::Hang => 0,
            },
        );
        self.set(NUMBER, number as i32);
        for place in [SEEN, IS_HIT, LET_GO] {
            self.set(place, 0);
        }
        self.note_calls();
    }

    /// Ends all faults: nothing fails from now on, and calls that hang return.
    pub fn rest(&self) {
        self.set(ON, 0);
        self.set(LET_GO, 1);
    }

    /// Makes every call that opens or syncs a file below this path hang until [`Disk::go_on`].
    pub fn hang(&self, path: &Path) {
        let mut bytes = path.to_str().unwrap().as_bytes().to_vec();
        bytes.resize(CONTROL_BYTES - HUNG as usize, 0);
        // The shim uses the path once its first byte is set.
        self.go_on();
        self.control().write_all_at(&bytes[1..], HUNG + 1).unwrap();
        self.control().write_all_at(&bytes[..1], HUNG).unwrap();
    }

    /// Ends [`Disk::hang`].
    pub fn go_on(&self) {
        self.control().write_all_at(&[0], HUNG).unwrap();
    }

    /// Whether the wanted call was made.
    pub fn is_hit(&self) -> bool {
        let mut bytes = [0; 4];
        self.control().read_exact_at(&mut bytes, IS_HIT).unwrap();
        bytes != [0; 4]
    }

    /// The noted calls in their order: the function, a space, and the file's name.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.calls_path()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Makes a command use this disk.
    pub fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library());
        command.env("SHIM_DISK", self.path());
    }

    fn set(&self, place: u64, value: i32) {
        let bytes = value.to_ne_bytes();
        self.control().write_all_at(&bytes, place).unwrap();
    }

    fn control(&self) -> fs::File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(self.path()).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn calls_path(&self) -> PathBuf {
        self.directory.path().join("disk.calls")
    }
}

/// The programs that a process starts.
pub struct Programs {
    directory: Directory,
}

impl Programs {
    /// From now on, a program that is started does not begin before [`Programs::go_on`].
    pub fn hang() -> Programs {
        let programs = Programs {
            directory: Directory::new(),
        };
        fs::write(programs.path(), "").unwrap();
        programs
    }

    /// Whether a program was started and has not begun.
    pub fn is_hung(&self) -> bool {
        self.path().with_extension("hung").exists()
    }

    /// Lets all programs begin.
    pub fn go_on(&self) {
        fs::remove_file(self.path()).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("programs")
    }

    /// Makes a command start its programs so.
    pub fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library());
        command.env("SHIM_PROGRAMS", self.path());
    }
}
