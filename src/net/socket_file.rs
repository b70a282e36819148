//! The files of Unix sockets on the disk: who may connect to one, and whether somebody listens on it. When they go is
//! decided in `shared/socket_files.rs`.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use super::BoundListener;
use crate::shared::socket_files::id_of;
use crate::snapshot::{ListenAddr, SocketAccess};

/// Makes the file of a socket what `access` says, before anybody can connect or later. The path may have been replaced
/// meanwhile: nothing but a socket is changed, and no link is followed. Errors: this process may not do that.
pub fn set_access(path: &Path, access: SocketAccess) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    // The only name of a file that is open like this.
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    if !fs::metadata(&name)?.file_type().is_socket() {
        return Err(ErrorKind::AddrInUse.into());
    }
    let cannot = |what: &'static str| {
        move |error: io::Error| {
            io::Error::new(error.kind(), format!("{what} cannot be set: {error}"))
        }
    };
    if access.owner.is_some() || access.group.is_some() {
        chown(&name, access.owner, access.group).map_err(cannot("owner and group"))?;
    }
    let mode = fs::Permissions::from_mode(access.mode);
    fs::set_permissions(&name, mode).map_err(cannot("mode"))
}

/// Sets the access of the file of a socket that was taken over, if this process is to remove the file.
pub fn allow(sockets: &[BoundListener], access: SocketAccess) -> io::Result<()> {
    match sockets.first() {
        Some(BoundListener {
            addr: ListenAddr::Unix(path),
            file: Some(_),
            ..
        }) => set_access(path, access),
        _ => Ok(()),
    }
}

/// Makes room for a socket at `path`: the file of one that nobody listens on is removed. Never waits for whoever
/// listens. Errors: somebody may listen there, or the file is something else.
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
    match id_of(path)? == before {
        true => fs::remove_file(path),
        false => Err(ErrorKind::AddrInUse.into()),
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
        for bits in [0o600, 0o666, 0o660] {
            let access = SocketAccess::of_mode(bits);
            set_access(&path, access).unwrap();
            assert_eq!(mode(&path), bits);
        }
        let link = place("access-link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(set_access(&link, SocketAccess::of_mode(0o777)).is_err());
        assert_eq!(mode(&path), 0o660);
        drop(listener);
        fs::remove_file(&path).unwrap();
        fs::remove_file(&link).unwrap();
    }
}
