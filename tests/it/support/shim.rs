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

/// The files of a process: those below any folder of the tests.
pub struct Disk {
    directory: Directory,
}

/// What becomes of a call on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// It fails with this number.
    Error(i32),
    /// It does not return until it is let go.
    Hang,
}

/// Where `struct control` of `tests/shim/disk.c` has what.
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
    /// Nothing fails, and nothing is noted.
    pub fn new() -> Disk {
        let disk = Disk {
            directory: Directory::new(),
        };
        fs::write(disk.path(), [0; CONTROL_BYTES]).unwrap();
        disk
    }

    /// From now on all calls are noted.
    pub fn note_calls(&self) {
        let _ = fs::remove_file(self.calls_path());
        self.set(ON, 1);
    }

    /// The same, and of the calls that are `wanted`, a line as it is noted, the one of this number is struck.
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

    /// From now on nothing fails, and what hangs goes on.
    pub fn rest(&self) {
        self.set(ON, 0);
        self.set(LET_GO, 1);
    }

    /// From now on, no file below this path is opened or synced before [`Disk::go_on`].
    pub fn hang(&self, path: &Path) {
        let mut bytes = path.to_str().unwrap().as_bytes().to_vec();
        bytes.resize(CONTROL_BYTES - HUNG as usize, 0);
        // The path counts once its first byte is there.
        self.go_on();
        self.control().write_all_at(&bytes[1..], HUNG + 1).unwrap();
        self.control().write_all_at(&bytes[..1], HUNG).unwrap();
    }

    /// Ends [`Disk::hang`].
    pub fn go_on(&self) {
        self.control().write_all_at(&[0], HUNG).unwrap();
    }

    /// Whether the call that was wanted was made.
    pub fn is_hit(&self) -> bool {
        let mut bytes = [0; 4];
        self.control().read_exact_at(&mut bytes, IS_HIT).unwrap();
        bytes != [0; 4]
    }

    /// The calls that were noted, in their order: the function, a space, and the file's name.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.calls_path()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Makes a command use these files.
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
