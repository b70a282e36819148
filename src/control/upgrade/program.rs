//! The program that the next process is started from.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::trust;
use super::{LINE_VARIABLE, STANDARD_DESCRIPTORS, TOLD_VARIABLE};
use crate::control::service_manager::systemd;
use crate::net::HandoverLine;

/// How this process was started, and how the next one is to be.
#[derive(Clone, Debug)]
pub struct Program {
    /// The path of the file.
    pub(super) path: PathBuf,
    /// The arguments of the command line, without the name of the program.
    pub(super) arguments: Vec<OsString>,
}

impl Program {
    /// The program of this process, with the arguments of the command line. The path is the one that was called, with
    /// its symbolic links, because an upgrade replaces the file or the link there; the kernel's path (`/proc/self/exe`)
    /// still means the old file. The kernel's path is used if the called path does not lead to the running file, since
    /// the caller of execve(2) can set any text there. To be called while the working directory is still the one of the
    /// start.
    pub fn of_this_process() -> Program {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        let here = env::current_dir().unwrap_or_default();
        let search = env::var_os("PATH").unwrap_or_default();
        let called = path_of(&name, &here, &search);
        let runs = identity(Path::new("/proc/self/exe"));
        let called = called.filter(|path| runs.is_some() && identity(path) == runs);
        let path = called.or_else(|| env::current_exe().ok());
        Program {
            path: path.unwrap_or_else(|| PathBuf::from(name)),
            arguments: arguments.collect(),
        }
    }

    /// Checks that the file may be started. Errors: users other than root and this process's may have put it there.
    pub(super) fn check(&self) -> Result<(), String> {
        trust::check(&self.path)
    }

    /// The next process, which inherits nothing but the standard descriptors and its end of the line.
    #[expect(
        unsafe_code,
        reason = "the code between fork and exec is unsafe to give"
    )]
    pub(super) fn command(&self, line: &HandoverLine) -> Command {
        let fd = line.raw();
        let mut command = Command::new(&self.path);
        command.args(&self.arguments);
        command.env(LINE_VARIABLE, fd.to_string());
        if let Ok(identity) = line.identity() {
            command.env(TOLD_VARIABLE, identity.to_string());
        }
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

/// The device and inode of the file that `path` leads to through links, which tell it from all other files.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// The path of the program that was called by `name`, found as a shell finds it.
fn path_of(name: &OsStr, here: &Path, search: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(here.join(name));
    }
    let folders = env::split_paths(search);
    let mut places = folders.map(|folder| here.join(folder).join(name));
    places.find(|place| !name.is_empty() && place.is_file())
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

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

    #[test]
    fn the_next_process_gets_its_end_of_the_line_and_nothing_else() {
        let (leaky, _other) = HandoverLine::pair().unwrap();
        // SAFETY: the line has this descriptor, and lives longer.
        #[expect(
            unsafe_code,
            reason = "the line gives away its descriptor as a number alone"
        )]
        let forgotten = unsafe { BorrowedFd::borrow_raw(leaky.raw()) };
        rustix::io::fcntl_setfd(forgotten, rustix::io::FdFlags::empty()).unwrap();
        let (line, _ours) = HandoverLine::pair().unwrap();
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
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort();
        let mut expected = ["0", "1", "2", &fd, &fd];
        expected.sort();
        assert_eq!(lines, expected);
    }
}
