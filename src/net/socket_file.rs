//! The files of Unix sockets on the disk: their access rights, and whether a process listens on them. The module
//! `shared/socket_files.rs` decides when they are removed.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, fchown};
use std::path::Path;
use std::thread;

use rustix::fs::{Mode, OFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use super::BoundListener;
use crate::base::addresses::{ListenAddr, SocketAccess};
use crate::shared::socket_files::{FileId, SharedSocketFile, id_of, own_at};

/// Gives the files of Unix sockets the access rights in `places`, but only files that this process has to remove: the
/// file of a socket that a service manager passed belongs to the manager. Returns the reasons for files whose rights
/// cannot be set.
pub fn allow(places: &[(ListenAddr, SocketAccess)]) -> Vec<String> {
    let own = places.iter().filter_map(own_file);
    let failed = own.filter_map(|(path, id, access)| {
        let error = set_access(path, id, access).err()?;
        Some(format!("unix:{}: {error}", path.display()))
    });
    failed.collect()
}

/// The places whose files [`allow`] would change.
pub fn unlike(mut places: Vec<(ListenAddr, SocketAccess)>) -> Vec<(ListenAddr, SocketAccess)> {
    places.retain(|place| own_file(place).is_some_and(|(path, _, access)| !has(path, access)));
    places
}

/// Whether the file is known to be what `access` says.
fn has(path: &Path, access: SocketAccess) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| {
        file.mode() & 0o7777 == access.mode
            && access.owner.is_none_or(|owner| owner == file.uid())
            && access.group.is_none_or(|group| group == file.gid())
    })
}

/// Whether [`allow`] will be able to, as far as one can know. Errors: the first file that cannot be made so, and why.
pub fn may_allow(places: &[(ListenAddr, SocketAccess)]) -> Result<(), String> {
    let mut own = places.iter().filter_map(own_file);
    own.try_for_each(|(path, _, access)| {
        may_give(path, access).map_err(|error| format!("unix:{}: {error}", path.display()))
    })
}

fn own_file(place: &(ListenAddr, SocketAccess)) -> Option<(&Path, FileId, SocketAccess)> {
    match place {
        (ListenAddr::Unix(path), access) => Some((path, own_at(path)?, *access)),
        (ListenAddr::Tcp(_), _) => None,
    }
}

/// Gives the file of a socket its access rights, before or after clients can connect. Only the file with this `id` is
/// changed, even if another file has taken its place meanwhile, and no link is followed. Errors: the path has another
/// file, or this process may not set the rights.
pub(super) fn set_access(path: &Path, id: FileId, access: SocketAccess) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if (stat.st_dev, stat.st_ino) != id {
        return Err(io::Error::other("another file is in its place"));
    }
    // The file was opened with O_PATH, and can only be named in this way.
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    if access.owner.is_some() || access.group.is_some() {
        chown(&name, access.owner, access.group).map_err(cannot("owner and group"))?;
    }
    let mode = fs::Permissions::from_mode(access.mode);
    fs::set_permissions(&name, mode).map_err(cannot("mode"))
}

/// Checks whether this process may give a file at `path` to this owner and group, by trying it with a file without a
/// name. Every process may set the mode of its own files.
fn may_give(path: &Path, access: SocketAccess) -> io::Result<()> {
    if access.owner.is_none() && access.group.is_none() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => fchown(&file, access.owner, access.group).map_err(cannot("owner and group")),
        // Not every file system has files without a name; then nothing is known.
        Err(_) => Ok(()),
    }
}

fn cannot(what: &'static str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what} cannot be set: {error}"))
}

/// Closes sockets at once. A thread that nobody waits for removes their files, so that a disk that does not answer
/// keeps no socket open.
pub fn close(mut sockets: Vec<BoundListener>) {
    let files = sockets.iter_mut().filter_map(|socket| socket.file.take());
    let files: Vec<SharedSocketFile> = files.collect();
    drop(sockets);
    if !files.is_empty() {
        let named = thread::Builder::new().name("socket-files".to_owned());
        // If no thread can be started, the files are removed here.
        let _ = named.spawn(move || drop(files));
    }
}

/// Makes room for a socket at `path`: removes the file of a socket that no process listens on. Never waits for a
/// listening process. Errors: a process may listen there, or the file is no socket.
pub(super) fn clear(path: &Path) -> io::Result<()> {
    let before = match id_of(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        id => id?,
    };
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A blocking connect would wait for a process whose queue is full.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
        // The socket is in use: it answered, its queue is full, or it is of another kind.
        _ => return Err(ErrorKind::AddrInUse.into()),
    }
    if id_of(path)? == before {
        fs::remove_file(path)
    } else {
        Err(ErrorKind::AddrInUse.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::path::PathBuf;

    use super::*;

    fn place(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("socket-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn only_what_nobody_listens_on_makes_room() {
        let path = place("clear");
        assert!(clear(&path).is_ok(), "there is nothing");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(clear(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        // Nobody accepts: the queue fills up.
        let clients: Vec<_> = (0..)
            .map_while(|_| {
                let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
                client.set_nonblocking(true).unwrap();
                let connected = client.connect(&SockAddr::unix(&path).unwrap());
                connected.is_ok().then_some(client)
            })
            .collect();
        assert_eq!(clear(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop((clients, listener));
        assert!(UnixStream::connect(&path).is_err());
        clear(&path).unwrap();
        assert!(!path.exists());
        let other = UnixDatagram::bind(&path).unwrap();
        assert_eq!(clear(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        other.send_to(b"alive", &path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert_eq!(clear(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn access_is_what_is_said_and_nothing_but_a_socket_is_changed() {
        let path = place("access");
        let listener = UnixListener::bind(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let id = id_of(&path).unwrap();
        for bits in [0o600, 0o666, 0o660] {
            let access = SocketAccess::of_mode(bits);
            set_access(&path, id, access).unwrap();
            assert_eq!(mode(&path), bits);
        }
        let link = place("access-link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(set_access(&link, id, SocketAccess::of_mode(0o777)).is_err());
        assert_eq!(mode(&path), 0o660);
        let other = (id.0, id.1 + 1);
        assert!(set_access(&path, other, SocketAccess::of_mode(0o777)).is_err());
        assert_eq!(mode(&path), 0o660, "it is another socket");
        drop(listener);
        fs::remove_file(&path).unwrap();
        fs::remove_file(&link).unwrap();
    }
}
