//! Listening sockets that are older than this process: passed by the one before it, or by a service manager. They are
//! known by the address that they listen on, whatever they were meant for.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use socket2::{SockRef, Type};

use super::listen::{BoundListener, bind};
use crate::snapshot::ListenAddr;

impl BoundListener {
    /// Takes over a socket that listens already. Errors: it does not listen, or neither on TCP nor on a path.
    pub fn adopt(socket: impl Into<OwnedFd>) -> io::Result<BoundListener> {
        let socket = socket.into();
        let addr = local_addr(&socket)?;
        let is_unix = matches!(addr, ListenAddr::Unix(_));
        if !is_unix {
            SockRef::from(&socket).set_tcp_nodelay(true)?; // Inherited by accepted sockets.
        }
        Ok(BoundListener { socket, is_unix })
    }

    /// Takes over a descriptor that this process was started with, and keeps it from being passed on by accident.
    /// Errors: as [`BoundListener::adopt`], or there is no such descriptor.
    ///
    /// # Safety
    /// Nothing else in this process may own the descriptor.
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

    /// Where it listens, as the kernel says. Errors: it does not listen any more.
    pub fn addr(&self) -> io::Result<ListenAddr> {
        local_addr(&self.socket)
    }

    /// The socket for another runtime, which wants it not to block.
    pub fn into_nonblocking(self) -> io::Result<OwnedFd> {
        SockRef::from(&self.socket).set_nonblocking(true)?;
        Ok(self.socket)
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
        let text = "it listens neither on a TCP address nor on a path";
        io::Error::new(io::ErrorKind::Unsupported, text)
    })
}

/// What was passed to this process and nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(ListenAddr, BoundListener)>,
}

impl Inherited {
    /// Of these sockets, in this order. Errors: one of them does not listen.
    pub fn new(sockets: Vec<BoundListener>) -> io::Result<Inherited> {
        let sockets = sockets
            .into_iter()
            .map(|socket| Ok((socket.addr()?, socket)));
        Ok(Inherited {
            sockets: sockets.collect::<io::Result<_>>()?,
        })
    }

    /// All that listen on `addr`, in the order in which they came.
    pub fn take(&mut self, addr: &ListenAddr) -> Vec<BoundListener> {
        let taken = self.sockets.extract_if(.., |(known, _)| known == addr);
        taken.map(|(_, socket)| socket).collect()
    }

    /// What nobody took.
    pub fn rest(self) -> Vec<(ListenAddr, BoundListener)> {
        self.sockets
    }
}

/// Shares the sockets of one address out over `workers`; each comes with its worker's number. None is left out, because
/// connections may wait in its queue: with fewer workers than sockets, some take several. Workers that there is no
/// socket for get one bound anew beside the others (SO_REUSEPORT), or share one if it was not bound for that. Errors:
/// as the system gives them.
pub fn share_out(
    addr: &ListenAddr,
    sockets: Vec<BoundListener>,
    workers: usize,
) -> io::Result<Vec<(usize, BoundListener)>> {
    let mut shared = Vec::new();
    for (place, socket) in distinct(sockets)?.into_iter().enumerate() {
        shared.push((place % workers, socket));
    }
    let passed = shared.len();
    let may_bind = matches!(addr, ListenAddr::Tcp(_))
        && match shared.first() {
            Some((_, first)) => SockRef::from(&first.socket).reuse_port()?,
            None => true,
        };
    for worker in passed..workers {
        let socket = if may_bind || worker == 0 {
            bind(addr, worker == 0)?
        } else {
            shared[worker % passed.max(1)].1.try_clone()?
        };
        shared.push((worker, socket));
    }
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

    use super::*;

    fn tcp_addr(listener: &TcpListener) -> ListenAddr {
        ListenAddr::Tcp(listener.local_addr().unwrap())
    }

    fn cookies(shared: &[(usize, BoundListener)]) -> Vec<(usize, u64)> {
        let cookie = |socket: &BoundListener| SockRef::from(&socket.socket).cookie().unwrap();
        let rows = shared
            .iter()
            .map(|(worker, socket)| (*worker, cookie(socket)));
        rows.collect()
    }

    /// `count` sockets on one free address, bound beside each other.
    fn group(count: usize) -> (ListenAddr, Vec<BoundListener>) {
        let addr = tcp_addr(&TcpListener::bind("127.0.0.1:0").unwrap());
        let group: Vec<_> = (0..count).map(|n| bind(&addr, n == 0).unwrap()).collect();
        (addr, group)
    }

    #[test]
    fn only_listening_stream_sockets_are_adopted() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = tcp_addr(&tcp);
        assert_eq!(BoundListener::adopt(tcp).unwrap().addr().unwrap(), addr);
        assert!(BoundListener::adopt(UdpSocket::bind("127.0.0.1:0").unwrap()).is_err());
        let (connected, _other) = UnixStream::pair().unwrap();
        assert!(BoundListener::adopt(connected).is_err());
        let path = std::env::temp_dir().join(format!("inherited-{}", std::process::id()));
        let unix = UnixListener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let adopted = BoundListener::adopt(unix).unwrap();
        assert_eq!(adopted.addr().unwrap(), ListenAddr::Unix(path));
    }

    #[test]
    fn sockets_are_found_by_address_in_order() {
        let (addr, sockets) = group(3);
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let other_addr = tcp_addr(&other);
        let expected: Vec<_> = sockets.iter().map(|s| s.socket.as_raw_fd()).collect();
        let mut all = sockets;
        all.insert(1, BoundListener::adopt(other).unwrap());
        let mut inherited = Inherited::new(all).unwrap();
        let taken = inherited.take(&addr);
        let taken: Vec<_> = taken.iter().map(|s| s.socket.as_raw_fd()).collect();
        assert_eq!(taken, expected);
        assert!(inherited.take(&addr).is_empty());
        let rest = inherited.rest();
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].0, other_addr);
    }

    #[test]
    fn every_socket_and_every_worker_is_served() {
        for (sockets, workers) in [(1, 1), (2, 2), (4, 2), (5, 3), (2, 4), (1, 3), (0, 2)] {
            let (addr, group) = group(sockets);
            let shared = cookies(&share_out(&addr, group, workers).unwrap());
            let on: BTreeSet<_> = shared.iter().map(|(worker, _)| *worker).collect();
            let queues: BTreeSet<_> = shared.iter().map(|(_, cookie)| *cookie).collect();
            assert_eq!(
                on,
                (0..workers).collect(),
                "{sockets} sockets, {workers} workers"
            );
            assert_eq!(queues.len(), sockets.max(workers), "{sockets}, {workers}");
            assert_eq!(shared.len(), sockets.max(workers), "{sockets}, {workers}");
        }
    }

    #[test]
    fn a_socket_that_nothing_can_be_bound_beside_is_shared() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = tcp_addr(&listener);
        let socket = BoundListener::adopt(listener).unwrap();
        let again = socket.try_clone().unwrap();
        let shared = cookies(&share_out(&addr, vec![socket, again], 3).unwrap());
        let workers: Vec<_> = shared.iter().map(|(worker, _)| *worker).collect();
        let queues: BTreeSet<_> = shared.iter().map(|(_, cookie)| *cookie).collect();
        assert_eq!(workers, [0, 1, 2]);
        assert_eq!(queues.len(), 1);
    }
}
