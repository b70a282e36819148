//! Handing over to a new process of the binary without losing a connection:
//!
//! ```text
//! the old process                         the new one
//! starts it, sends its sockets       →    takes them instead of binding, starts everything
//!                                    ←    `ready`, or why not, or its end
//! `go`                               →    accepts
//! stops accepting, finishes, ends
//! ```
//!
//! Until it hears `go` the new process accepts nothing, so ending it costs nobody anything; until it has said `go` the
//! old one stops nothing, so it can go on as if nothing had been. Connections in between wait in the sockets' queues.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use tokio::sync::mpsc;
use tracing::info;

use crate::base::limits;
use crate::control::systemd;
use crate::net::{BoundListener, Line};

/// Tells a new process which of its descriptors is its end of the line.
const LINE_VARIABLE: &str = "PALANTIR_HANDOVER";
/// Standard input, output and error.
const STANDARD_DESCRIPTORS: RawFd = 3;

const READY: &str = "ready";
const GO: &str = "go";

/// How this process was started, and how the next one is to be.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// As the command line says. The path is the one that was called, with its symbolic links, because an upgrade
    /// replaces the file or the link there; the kernel's own (`/proc/self/exe`) still means the old file. To be called
    /// while the working directory is still the one of the start.
    pub fn of_this_process() -> Program {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        let here = env::current_dir().unwrap_or_default();
        let search = env::var_os("PATH").unwrap_or_default();
        let path = path_of(&name, &here, &search).or_else(|| env::current_exe().ok());
        Program {
            path: path.unwrap_or_else(|| PathBuf::from(name)),
            arguments: arguments.collect(),
        }
    }

    /// The next process, which inherits nothing but the standard descriptors and its end of the line.
    fn command(&self, line: &Line) -> Command {
        let fd = line.raw();
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        command.env(LINE_VARIABLE, fd.to_string());
        for name in systemd::OF_ONE_PROCESS {
            command.env_remove(name);
        }
        // SAFETY: between fork and exec only system calls on plain numbers, without allocation. The first one may be
        // unknown to the kernel; it is for descriptors that were just accepted and are not yet marked themselves.
        unsafe {
            command.pre_exec(move || {
                let all = (STANDARD_DESCRIPTORS as u32, u32::MAX);
                libc::syscall(
                    libc::SYS_close_range,
                    all.0,
                    all.1,
                    libc::CLOSE_RANGE_CLOEXEC,
                );
                if libc::fcntl(fd, libc::F_SETFD, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        command
    }
}

/// Where the program lies that was called by `name`: the way a shell finds it.
fn path_of(name: &OsStr, here: &Path, search: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(here.join(name));
    }
    let folders = env::split_paths(search);
    let mut places = folders.map(|folder| here.join(folder).join(name));
    places.find(|place| !name.is_empty() && place.is_file())
}

/// What became of a new process: ready, or why not.
pub type Outcome = Result<Successor, String>;

/// Starts a new process and hands it `listeners`, on a thread of its own; the outcome comes through `outcomes`, at the
/// latest after a few times `limits::UPGRADE_SECS`. Errors: no thread is to be had.
pub fn begin(
    program: Program,
    listeners: Vec<BoundListener>,
    outcomes: mpsc::Sender<Outcome>,
) -> io::Result<()> {
    info!("upgrade: starting {}", program.path.display());
    thread::Builder::new()
        .name("upgrade".to_owned())
        .spawn(move || {
            // If nobody wants the outcome any more, a process that got ready ends with it.
            let _ = outcomes.blocking_send(prepare(&program, &listeners));
        })?;
    Ok(())
}

fn prepare(program: &Program, listeners: &[BoundListener]) -> Outcome {
    let (ours, theirs) = Line::pair().map_err(|error| error.to_string())?;
    let child = program
        .command(&theirs)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.path.display()))?;
    drop(theirs);
    let mut successor = Successor {
        child: Some(child),
        line: ours,
    };
    let sent = successor.line.send_listeners(listeners);
    if let Err(error) = sent.as_ref()
        && error.kind() == io::ErrorKind::TimedOut
    {
        return Err(too_slow());
    }
    match (successor.line.hear(), sent) {
        (Ok(Some(word)), Ok(())) if word == READY => Ok(successor),
        (Ok(Some(reason)), _) => Err(reason),
        (Err(error), _) if error.kind() == io::ErrorKind::TimedOut => Err(too_slow()),
        _ => Err(format!("the new process ended: {}", successor.end())),
    }
}

fn too_slow() -> String {
    let patience = limits::UPGRADE_SECS;
    format!("the new process was not ready within {patience} s")
}

/// A new process that is ready to take over. Unless it is told to go, it is ended when this is dropped.
#[derive(Debug)]
pub struct Successor {
    child: Option<Child>,
    line: Line,
}

impl Successor {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Lets it take over; from now on it accepts. Errors: it has ended meanwhile; nothing has changed.
    pub fn go(mut self) -> Result<(), String> {
        match self.line.say(GO) {
            Ok(()) => {
                self.child = None;
                Ok(())
            }
            Err(_) => Err(format!("the new process ended: {}", self.end())),
        }
    }

    /// Ends it, if it has not ended by itself, and tells how it did.
    fn end(&mut self) -> String {
        let Some(mut child) = self.child.take() else {
            return String::new();
        };
        // It has closed its end of the line: either it is ending already, or it must.
        let _ = child.kill();
        child
            .wait()
            .map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        self.end();
    }
}

/// The process that this one is to take over from.
#[derive(Debug)]
pub struct Predecessor {
    line: Line,
}

impl Predecessor {
    /// `None` if this process was started by anybody else. Errors: what the environment names is no line. To be called once.
    pub fn find() -> Result<Option<Predecessor>, String> {
        let Ok(number) = env::var(LINE_VARIABLE) else {
            return Ok(None);
        };
        let fd = number.parse().ok().filter(|fd| *fd >= STANDARD_DESCRIPTORS);
        let fd: RawFd = fd.ok_or_else(|| format!("{LINE_VARIABLE}={number}: no descriptor"))?;
        // SAFETY: the process that started this one opened it for this purpose, and nobody has taken it yet.
        let line = unsafe { Line::from_raw(fd) };
        line.map(|line| Some(Predecessor { line }))
            .map_err(|error| format!("{LINE_VARIABLE}={number}: {error}"))
    }

    /// The sockets that it listens on, in its workers' order. Errors: it has ended, or one is not what it should be.
    pub fn listeners(&self) -> Result<Vec<BoundListener>, String> {
        let received = self.line.receive_listeners();
        received.map_err(|error| format!("cannot take over the listening sockets: {error}"))
    }

    /// Tells it why this process cannot take over.
    pub fn refuse(&self, reason: &str) {
        // Without it, it sees this process end.
        let _ = self.line.say(reason);
    }

    /// Tells it that everything is started, and waits until it lets go: from then on this process accepts. Errors: it
    /// has ended, or does not want this process any more.
    pub fn wait_for_go(&self) -> Result<(), String> {
        let heard = self.line.say(READY).and_then(|()| self.line.hear());
        match heard {
            Ok(Some(word)) if word == GO => Ok(()),
            Ok(Some(word)) => Err(format!("the old process says {word:?} instead of {GO:?}")),
            Ok(None) => Err("the old process did not let go".to_owned()),
            Err(error) => Err(format!("the old process did not let go: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_found_as_it_was_called() {
        let folder = env::temp_dir().join(format!("program-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("palantir"), "").unwrap();
        let search = env::join_paths([Path::new("/nowhere"), &folder]).unwrap();
        let found = folder.join("palantir");
        let rows = [
            ("/opt/palantir", Some(PathBuf::from("/opt/palantir"))),
            ("bin/palantir", Some(PathBuf::from("/srv/bin/palantir"))),
            ("palantir", Some(found)),
            ("not-there", None),
            ("", None),
        ];
        for (name, expected) in rows {
            let path = path_of(OsStr::new(name), Path::new("/srv"), &search);
            assert_eq!(path, expected, "{name:?}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    fn outcome_of(script: &str) -> Outcome {
        let program = Program {
            path: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
        };
        prepare(&program, &[])
    }

    #[test]
    fn the_reason_of_a_failure_is_told() {
        let silent = outcome_of("exit 7").unwrap_err();
        assert!(silent.contains("exit status: 7"), "{silent}");
        let program = Program {
            path: PathBuf::from("/nowhere/palantir"),
            arguments: Vec::new(),
        };
        let absent = prepare(&program, &[]).unwrap_err();
        assert!(absent.contains("/nowhere/palantir"), "{absent}");
    }

    #[test]
    fn the_next_process_gets_its_end_of_the_line_and_nothing_else() {
        let (leaky, _other) = Line::pair().unwrap();
        // SAFETY: clears a flag of a live descriptor, as somebody forgetful would.
        unsafe { libc::fcntl(leaky.raw(), libc::F_SETFD, 0) };
        let (line, _ours) = Line::pair().unwrap();
        let program = Program {
            path: PathBuf::from("/bin/sh"),
            arguments: vec![
                "-c".into(),
                "ls /proc/$$/fd; echo $PALANTIR_HANDOVER".into(),
            ],
        };
        let output = program.command(&line).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let fd = line.raw().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["0", "1", "2", fd.as_str(), fd.as_str()]);
    }

    #[test]
    fn both_sides_agree_on_the_words() {
        let (ours, theirs) = Line::pair().unwrap();
        let new = thread::spawn(move || Predecessor { line: theirs }.wait_for_go());
        assert_eq!(ours.hear().unwrap().as_deref(), Some(READY));
        let successor = Successor {
            child: None,
            line: ours,
        };
        successor.go().unwrap();
        assert_eq!(new.join().unwrap(), Ok(()));
        let (ours, theirs) = Line::pair().unwrap();
        drop(ours);
        let old_has_gone = Predecessor { line: theirs }.wait_for_go();
        assert!(old_has_gone.unwrap_err().contains("let go"));
    }
}
