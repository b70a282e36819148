//! How the file of the access log is opened: within a time, without waiting for a pipe's reader, and through no link
//! that another user has made. A user who may write in the folder could otherwise make palantir, which often runs as
//! root, append to any file of the machine.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, accessat, fstat, openat};
use rustix::io::Errno;

use crate::base::limits;

/// The mode of a new file: the owner reads and writes, the group reads, others have no access.
const MODE: Mode = Mode::from_raw_mode(0o640);
/// The flags with which the file is opened, besides those for reading or writing.
const FLAGS: OFlags = OFlags::APPEND
    .union(OFlags::CREATE)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
/// The flags with which a folder on the path is opened.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// The kernel follows as many links in one path (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The number of threads that open a file at the moment.
static OPENING: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` on a thread of its own. Errors: those of the work, or the work takes longer than `patience`.
pub fn in_time<T: Send + 'static>(
    patience: Duration,
    open: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let late = |text: &str| Err(io::Error::new(io::ErrorKind::TimedOut, text));
    if OPENING.fetch_add(1, Relaxed) >= limits::ACCESS_LOG_OPENINGS {
        OPENING.fetch_sub(1, Relaxed);
        return late("the files that were to be opened before are not open yet");
    }
    let (sender, opened) = crossbeam_channel::bounded(1);
    let thread = thread::Builder::new().name("open-log".to_owned());
    let started = thread.spawn(move || {
        let _ = sender.send(open());
        OPENING.fetch_sub(1, Relaxed);
    });
    if let Err(error) = started {
        OPENING.fetch_sub(1, Relaxed);
        return Err(error);
    }
    match opened.recv_timeout(patience) {
        Ok(opened) => opened,
        Err(_) => late("the file system does not answer"),
    }
}

/// Opens the file for appending, or creates it. A pipe is opened for reading, too: the open then needs no reader, and
/// the pipe keeps what was written while its reader restarts.
pub fn open(path: &Path) -> io::Result<File> {
    let open = |access| {
        follow(path, |folder, name, link| {
            openat(folder, name, access | FLAGS | link, MODE)
        })
        .map(File::from)
    };
    let opened = open(OFlags::WRONLY);
    match &opened {
        Ok(file) if !file.metadata()?.file_type().is_fifo() => return opened,
        Err(error) if error.raw_os_error() != Some(libc::ENXIO) => return opened,
        _ => {}
    }
    open(OFlags::RDWR).or(opened)
}

/// Examines the file that [`open`] would open, without opening or creating it: a pipe's reader would notice an open.
/// `None`: [`open`] would create the file. Errors: [`open`] would fail.
pub fn look(path: &Path) -> io::Result<Option<FileType>> {
    follow(path, |folder, name, link| {
        let looked = openat(folder, name, OFlags::PATH | OFlags::CLOEXEC | link, MODE);
        if looked.as_ref().is_err_and(|why| *why == Errno::NOENT) {
            let may = Access::WRITE_OK | Access::EXEC_OK;
            return accessat(folder, ".", may, AtFlags::EACCESS).map(|()| None);
        }
        match FileType::from_raw_mode(fstat(looked?)?.st_mode) {
            FileType::Symlink => Err(Errno::LOOP),
            FileType::Directory => Err(Errno::ISDIR),
            FileType::Socket => Err(Errno::NXIO),
            kind => Ok(Some(kind)),
        }
    })
}

/// Walks the path name by name, so that no link can be put there between a check and a step. `last` is called with the
/// last folder and the last name in it, and must fail with `LOOP` for a link unless the flag that it is given follows
/// links.
fn follow<T>(
    path: &Path,
    last: impl Fn(&OwnedFd, &OsString, OFlags) -> Result<T, Errno>,
) -> io::Result<T> {
    let mut folder = start_of(path)?;
    let mut names = names_of(path);
    let mut links = 0;
    while let Some(name) = names.pop() {
        let is_last = names.is_empty();
        if is_last {
            match last(&folder, &name, OFlags::NOFOLLOW) {
                Err(Errno::LOOP) => {}
                done => return Ok(done?),
            }
        } else {
            match openat(&folder, &name, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
                Err(Errno::NOTDIR) => {}
                opened => {
                    folder = opened?;
                    continue;
                }
            }
        }
        // The name is a link, or was one a moment ago.
        let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat(&folder, &name, look, Mode::empty())?;
        let stat = fstat(&found)?;
        links += 1;
        if links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            if is_last {
                names.push(name)
            } else {
                return Err(Errno::NOTDIR.into());
            }
        } else {
            let is_of_the_kernel = is_of_the_kernel(&folder)?;
            if is_of_the_kernel && is_last {
                return Ok(last(&folder, &name, OFlags::empty())?);
            }
            if !is_of_the_kernel {
                must_be_ours(stat.st_uid)?;
            }
            let target = rustix::fs::readlinkat(&found, "", Vec::new())?;
            let target = OsString::from_vec(target.into_bytes());
            if Path::new(&target).is_absolute() {
                folder = start_of(Path::new(&target))?;
            }
            names.extend(names_of(Path::new(&target)));
        }
    }
    Err(Errno::ISDIR.into())
}

fn start_of(path: &Path) -> io::Result<OwnedFd> {
    let start = if path.is_absolute() { "/" } else { "." };
    Ok(rustix::fs::open(start, FOLDER, Mode::empty())?)
}

/// The names in a path, the last one first.
fn names_of(path: &Path) -> Vec<OsString> {
    let names = path.components().rev();
    let names = names.filter(|name| matches!(name, Component::Normal(_) | Component::ParentDir));
    names.map(|name| name.as_os_str().to_owned()).collect()
}

/// Whether a folder belongs to /proc, whose links are made by the kernel and have a text that is no path: `/dev/stdout`
/// leads there.
fn is_of_the_kernel(folder: &OwnedFd) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(folder)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

/// Errors: the owner is neither root nor this process's user, so that the link is not followed.
fn must_be_ours(owner: u32) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    if may_follow(owner, own, fs::metadata("/")?.uid()) {
        return Ok(());
    }
    let text = format!(
        "user {owner} has made a link on the way there, and links of other users are not followed"
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

/// Whether a link of this owner is followed. In a user namespace root may have another number: that of the owner of
/// `/`.
fn may_follow(owner: u32, own: u32, root: u32) -> bool {
    owner == 0 || owner == own || owner == root
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("palantir-open-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn who_wants_a_file_opened_waits_for_a_while_and_no_longer() {
        let (_answers, never) = crossbeam_channel::bounded::<()>(1);
        let hangs = move || never.recv().map_err(io::Error::other);
        let late = in_time(Duration::from_millis(1), hangs).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let long = Duration::from_secs(60);
        assert_eq!(in_time(long, || Ok(7)).unwrap(), 7);
        let full = in_time(long, || Err::<(), _>(io::ErrorKind::StorageFull.into()));
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn links_of_root_and_of_ones_own_are_followed() {
        let rows = [
            (0, 1000, 0, true),
            (1000, 1000, 0, true),
            (1001, 1000, 0, false),
            (1001, 0, 0, false),
            (65534, 1000, 65534, true),
        ];
        for (owner, own, root, follows) in rows {
            assert_eq!(
                may_follow(owner, own, root),
                follows,
                "{owner} {own} {root}"
            );
        }
    }

    #[test]
    fn a_path_leads_where_the_system_would_go() {
        let folder = folder("links");
        fs::create_dir(folder.join("real")).unwrap();
        symlink("real", folder.join("relative")).unwrap();
        symlink(folder.join("real"), folder.join("absolute")).unwrap();
        symlink("../real/./log", folder.join("real/last")).unwrap();
        symlink("round", folder.join("round")).unwrap();
        let paths = [
            "real/log",
            "relative/log",
            "absolute/../real//log",
            "relative/last",
        ];
        for path in paths {
            writeln!(open(&folder.join(path)).unwrap(), "{path}").unwrap();
        }
        let log = folder.join("real/log");
        assert_eq!(
            fs::read_to_string(&log).unwrap().lines().count(),
            paths.len()
        );
        let mode = fs::metadata(&log).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
        let errors = [
            ("round", libc::ELOOP),
            ("round/log", libc::ELOOP),
            ("none/log", libc::ENOENT),
            ("real/log/x", libc::ENOTDIR),
            ("real", libc::EISDIR),
            ("real/..", libc::EISDIR),
        ];
        for (path, expected) in errors {
            let error = open(&folder.join(path)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(expected), "{path}: {error}");
            let error = look(&folder.join(path)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(expected), "{path}: {error}");
        }
        symlink("absent", folder.join("dangling")).unwrap();
        assert_eq!(look(&folder.join("dangling")).unwrap(), None);
        assert_eq!(
            look(&folder.join("relative/last")).unwrap(),
            Some(FileType::RegularFile)
        );
        assert!(!folder.join("absent").exists(), "nothing is made");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn standard_streams_can_be_opened_by_their_paths() {
        let pipe = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe.1));
        writeln!(open(Path::new(&path)).unwrap(), "through the link").unwrap();
        drop(pipe.1);
        assert_eq!(io::read_to_string(pipe.0).unwrap(), "through the link\n");
    }
}
