//! Listening sockets that are older than this process: passed by the one before it, which says what they were for, or
//! by a service manager, which knows nothing of that. They are found by the address that they listen on.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use socket2::{SockRef, Type};

use super::BoundListener;
use super::listen::bind;
use crate::base::addresses::{ListenAddr, Purpose, ServerKind};

impl BoundListener {
    /// Takes over a socket that listens already. Errors: it does not listen, or neither on TCP nor on a path.
    pub fn adopt(socket: impl Into<OwnedFd>) -> io::Result<BoundListener> {
        let socket = socket.into();
        let addr = local_addr(&socket)?;
        if matches!(addr, ListenAddr::Tcp(_)) {
            SockRef::from(&socket).set_tcp_nodelay(true)?; // Inherited by accepted sockets.
        }
        Ok(BoundListener {
            addr,
            socket,
            came_for: None,
            file: None,
        })
    }

    /// Takes over a descriptor that this process was started with, and keeps it from being passed on by accident.
    /// Errors: as [`BoundListener::adopt`], or there is no such descriptor.
    ///
    /// # Safety
    /// Nothing else in this process may own the descriptor.
    #[expect(
        unsafe_code,
        reason = "the number of a descriptor says nothing of its owner"
    )]
    pub unsafe fn adopt_raw(fd: RawFd) -> io::Result<BoundListener> {
        // SAFETY: a plain system call, which fails if there is no such descriptor; the caller vouches for ownership.
        let socket = unsafe {
            if libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        BoundListener::adopt(socket)
    }

    /// For runtimes that want it so; whoever passed it may not have known. Errors: as the system gives them.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        SockRef::from(&self.socket).set_nonblocking(true)
    }

    /// Errors: it does not listen where it should (any more).
    pub(super) fn check(&self) -> io::Result<()> {
        let actual = local_addr(&self.socket)?;
        if actual != self.addr {
            let text = format!("a socket for {} listens on {actual}", self.addr);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(())
    }
}

fn local_addr(socket: &OwnedFd) -> io::Result<ListenAddr> {
    let known = SockRef::from(socket);
    if known.r#type()? != Type::STREAM || !known.is_listener()? {
        let text = format!("descriptor {} does not listen", socket.as_raw_fd());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let addr = known.local_addr()?;
    let path = || addr.as_pathname().map(PathBuf::from);
    let tcp = addr.as_socket().map(ListenAddr::Tcp);
    tcp.or_else(|| path().map(ListenAddr::Unix)).ok_or_else(|| {
        let text = "the socket listens neither on a TCP address nor on a path";
        io::Error::new(io::ErrorKind::Unsupported, text)
    })
}

/// A socket as one process passes it to another, and what it is for there, if that is known.
pub type Passed = (BoundListener, Option<Purpose>);

/// Sockets that were passed to this process and that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Passed>,
}

impl Inherited {
    /// Of these sockets, in this order.
    pub fn new(sockets: Vec<Passed>) -> Inherited {
        Inherited { sockets }
    }

    /// All that listen on `addr`, in the order in which they came, for this server from now on.
    pub fn take(&mut self, addr: &ListenAddr, server: ServerKind) -> Vec<BoundListener> {
        let mut sockets = self.extract(addr);
        for (socket, purpose) in &mut sockets {
            socket.came_for = purpose.filter(|purpose| purpose.server != server);
        }
        sockets.into_iter().map(|(socket, _)| socket).collect()
    }

    /// The sockets that no listener of this configuration has taken: they serve no purpose any more.
    pub fn next_left(&mut self) -> Option<(ListenAddr, Vec<Passed>)> {
        let addr = self.sockets.first()?.0.addr.clone();
        let sockets = self.extract(&addr);
        Some((addr, sockets))
    }

    fn extract(&mut self, addr: &ListenAddr) -> Vec<Passed> {
        let of_addr = |(socket, _): &mut Passed| socket.addr == *addr;
        self.sockets.extract_if(.., of_addr).collect()
    }
}

/// Sockets of one address for `workers` workers: the one at place `n` is for worker `n % workers`. None of `passed` is
/// left out, because connections may wait in its queue: with fewer workers than sockets, some take several. Workers
/// that there is no socket for get one bound anew beside the others (SO_REUSEPORT), or share one if that cannot be.
/// Errors: as the system gives them.
pub fn share_out(passed: Vec<BoundListener>, workers: usize) -> io::Result<Vec<BoundListener>> {
    let mut shared = distinct(passed)?;
    let distinct = shared.len();
    for place in distinct..workers {
        let pattern = &shared[place % distinct];
        let another = match pattern.addr {
            ListenAddr::Tcp(addr) if SockRef::from(&pattern.socket).reuse_port()? => {
                // A client that connects before this process accepts came for the former purpose of the address, on
                // whichever of its sockets the kernel puts the client.
                BoundListener {
                    came_for: pattern.came_for,
                    ..bind(addr, None)?
                }
            }
            _ => pattern.try_clone()?,
        };
        shared.push(another);
    }
    debug_assert!(shared.len() >= workers, "each worker has a socket");
    Ok(shared)
}

/// Each socket once, however many descriptors of it there are: those of a shared one all have the same queue.
fn distinct(sockets: Vec<BoundListener>) -> io::Result<Vec<BoundListener>> {
    let mut known = BTreeSet::new();
    let mut distinct = Vec::new();
    for socket in sockets {
        if known.insert(SockRef::from(&socket.socket).cookie()?) {
            distinct.push(socket);
        }
    }
    Ok(distinct)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Duration;

    use super::*;
    use crate::base::addresses::SocketAccess;
    use crate::net::bind_for_all;

    fn tcp_addr(listener: &TcpListener) -> ListenAddr {
        ListenAddr::Tcp(listener.local_addr().unwrap())
    }

    fn queues(shared: &[BoundListener]) -> BTreeSet<u64> {
        let sockets = shared.iter().map(|shared| SockRef::from(&shared.socket));
        sockets.map(|socket| socket.cookie().unwrap()).collect()
    }

    /// `count` sockets on one free address, bound beside each other.
    fn group(count: usize) -> Vec<BoundListener> {
        let addr = tcp_addr(&TcpListener::bind("127.0.0.1:0").unwrap());
        let place = (addr, SocketAccess::of_mode(0o600));
        bind_for_all(&place, count, Duration::ZERO).unwrap()
    }

    #[test]
    fn only_listening_stream_sockets_are_adopted() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = tcp_addr(&tcp);
        assert_eq!(BoundListener::adopt(tcp).unwrap().addr, addr);
        assert!(BoundListener::adopt(UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
        let (connected, _other) = UnixStream::pair().unwrap();
        assert!(BoundListener::adopt(connected).is_err());
        let path = std::env::temp_dir().join(format!("inherited-{}", std::process::id()));
        let unix = UnixListener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let adopted = BoundListener::adopt(unix).unwrap();
        assert_eq!(adopted.addr, ListenAddr::Unix(path));
    }

    #[test]
    fn sockets_are_found_by_address_in_order() {
        let sockets = group(3);
        let addr = sockets[0].addr.clone();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let other_addr = tcp_addr(&other);
        let expected: Vec<_> = sockets.iter().map(|s| s.socket.as_raw_fd()).collect();
        let purpose = |server| {
            Some(Purpose {
                server,
                is_cleartext: true,
            })
        };
        let (proxy, admin) = (purpose(ServerKind::Proxy), purpose(ServerKind::Admin));
        let purposes = [proxy, None, admin];
        let mut all: Vec<Passed> = sockets.into_iter().zip(purposes).collect();
        all.insert(1, (BoundListener::adopt(other).unwrap(), admin));
        let mut inherited = Inherited::new(all);
        let taken = inherited.take(&addr, ServerKind::Proxy);
        let strangers = taken.iter().map(|socket| socket.came_for);
        assert_eq!(strangers.collect::<Vec<_>>(), [None, None, admin]);
        let taken: Vec<_> = taken.iter().map(|s| s.socket.as_raw_fd()).collect();
        assert_eq!(taken, expected);
        assert!(inherited.take(&addr, ServerKind::Proxy).is_empty());
        let (left, sockets) = inherited.next_left().unwrap();
        assert_eq!(left, other_addr);
        assert_eq!(sockets[0].1, admin);
        assert!(inherited.next_left().is_none());
    }

    #[test]
    fn every_socket_and_every_worker_is_served() {
        for (sockets, workers) in [(1, 1), (2, 2), (4, 2), (5, 3), (2, 4), (1, 3)] {
            let mut group = group(sockets);
            let came_for = Some(Purpose {
                server: ServerKind::Admin,
                is_cleartext: true,
            });
            for socket in &mut group {
                socket.came_for = came_for;
            }
            let before = queues(&group);
            let shared = share_out(group, workers).unwrap();
            let after = queues(&shared);
            assert_eq!(shared.len(), sockets.max(workers), "{sockets}, {workers}");
            assert_eq!(after.len(), sockets.max(workers), "{sockets}, {workers}");
            assert!(after.is_superset(&before), "{sockets}, {workers}");
            assert!(shared.iter().all(|socket| socket.came_for == came_for));
        }
    }

    #[test]
    fn a_socket_that_nothing_can_be_bound_beside_is_shared() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = BoundListener::adopt(listener).unwrap();
        let again = socket.try_clone().unwrap();
        let shared = share_out(vec![socket, again], 3).unwrap();
        assert_eq!(shared.len(), 3);
        assert_eq!(queues(&shared).len(), 1);
    }
}
