//! Listening sockets. They are bound outside the workers, so that mistakes are known before anything changes, and each
//! socket is accepted from by one worker.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use monoio::io::{CancelHandle, Canceller};
use monoio::net::{TcpListener, UnixListener};
use rustix::event::PollFlags;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::FdFlags;
use socket2::{Domain, SockAddr, Type};

use super::operations::count_operation;
use super::plain_socket::has_event;
#[cfg(test)]
use super::simulated;
use super::socket_file;
use super::{BoundListener, Engine, Socket, Turn};
use crate::base::addresses::{ListenAddr, SocketAccess};
use crate::base::limits;
use crate::shared::socket_files::SocketFile;
use crate::shared::sockets::{CountedSocket, SocketSide};

/// The peer that connected: the address of a TCP client, or a process on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteAddr {
    /// A client over TCP, with the address of its end.
    Tcp(SocketAddr),
    /// A client on a Unix socket.
    Unix,
}

impl RemoteAddr {
    /// The client's IP address, if it has one.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            RemoteAddr::Tcp(address) => Some(address.ip().to_canonical()),
            RemoteAddr::Unix => None,
        }
    }
}

/// Binds `addr` once for each of `workers` workers and listens. A TCP socket is bound for every worker (SO_REUSEPORT);
/// the kernel spreads new connections over them. A Unix socket is bound once and cloned. A Unix socket's file that no
/// process listens on is replaced, and a new file gets the access rights in `access`. Errors: as the system reports
/// them; `AddrInUse` also if another process listens on the same port, which SO_REUSEPORT would hide, and still does
/// after `patience`.
pub fn bind_for_all(
    (addr, access): &(ListenAddr, SocketAccess),
    workers: usize,
    patience: Duration,
) -> io::Result<Vec<BoundListener>> {
    debug_assert!(workers > 0);
    let first = match addr {
        ListenAddr::Tcp(addr) => bind(*addr, Some(patience))?,
        ListenAddr::Unix(path) => bind_unix(path, *access, patience)?,
    };
    let mut bound = Vec::with_capacity(workers);
    for _ in 1..workers {
        bound.push(match addr {
            ListenAddr::Tcp(addr) => bind(*addr, None)?,
            ListenAddr::Unix(_) => first.try_clone()?,
        });
    }
    bound.insert(0, first);
    debug_assert_eq!(bound.len(), workers, "each worker has a socket");
    Ok(bound)
}

/// Checks that a socket of this machine can have this address at all, with any port. Errors: no socket can.
pub fn check_address(mut addr: SocketAddr) -> io::Result<()> {
    addr.set_port(0);
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.bind(&SockAddr::from(addr))
}

/// `patience`: of the first socket on an address, which nobody else may have.
pub(super) fn bind(addr: SocketAddr, patience: Option<Duration>) -> io::Result<BoundListener> {
    Ok(BoundListener {
        addr: ListenAddr::Tcp(addr),
        socket: bind_tcp(addr, patience)?,
        came_for: None,
        file: None,
    })
}

fn bind_tcp(addr: SocketAddr, patience: Option<Duration>) -> io::Result<OwnedFd> {
    let address = SockAddr::from(addr);
    let open = || -> io::Result<socket2::Socket> {
        let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        Ok(socket)
    };
    if let Some(patience) = patience {
        wait_until_free(patience, || open()?.bind(&address))?;
    }
    let socket = open()?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?; // Inherited by accepted sockets.
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    socket.listen(limits::BACKLOG)?;
    Ok(socket.into())
}

/// Tries to bind without SO_REUSEPORT, which fails if anybody listens there, for a while: the kernel takes down the
/// rings of a process that has just ended behind its back, and its listening sockets with them. What is bound for this
/// never listens itself: a client that knocked meanwhile would be lost with it.
fn wait_until_free(patience: Duration, attempt: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let pauses = patience.as_millis() as u64 / limits::BIND_PAUSE_MILLIS;
    for _ in 0..pauses {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(Duration::from_millis(limits::BIND_PAUSE_MILLIS));
            }
            outcome => return outcome,
        }
    }
    attempt()
}

/// The access rights are set before the socket listens, so that no client without the right can connect in between.
fn bind_unix(path: &Path, access: SocketAccess, patience: Duration) -> io::Result<BoundListener> {
    let address = SockAddr::unix(path)?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    wait_until_free(patience, || socket_file::clear(path))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    let file = SocketFile::bound(path)?;
    socket_file::set_access(path, file.id(), access)?;
    socket.listen(limits::BACKLOG)?;
    Ok(BoundListener {
        addr: ListenAddr::Unix(path.to_owned()),
        socket: socket.into(),
        came_for: None,
        file: Some(file),
    })
}

enum Socketed {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Ends pending accepts without losing a connection, and lets no further one begin.
pub struct AcceptSwitch {
    canceller: RefCell<Option<Canceller>>,
}

impl Default for AcceptSwitch {
    fn default() -> Self {
        AcceptSwitch {
            canceller: RefCell::new(Some(Canceller::new())),
        }
    }
}

impl AcceptSwitch {
    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.canceller.borrow().is_none()
    }

    /// Turns the switch off for good.
    pub fn close(&self) {
        if let Some(canceller) = self.canceller.borrow_mut().take() {
            drop(canceller.cancel());
        }
    }

    fn handle(&self) -> Option<CancelHandle> {
        self.canceller.borrow().as_ref().map(Canceller::handle)
    }
}

/// A listening socket on a worker's runtime.
pub struct ListenSocket {
    socket: Socketed,
}

impl ListenSocket {
    /// Hands the socket to this thread's runtime, which must be running.
    pub fn new(bound: BoundListener, engine: Engine) -> io::Result<ListenSocket> {
        // A ring waits on blocking descriptors itself; it would hand back the refusals of others.
        set_blocking(&bound.socket, engine != Engine::Epoll)?;
        let socket = match bound.addr {
            ListenAddr::Unix(_) => Socketed::Unix(UnixListener::from_std(bound.socket.into())?),
            ListenAddr::Tcp(_) => Socketed::Tcp(TcpListener::from_std(bound.socket.into())?),
        };
        Ok(ListenSocket { socket })
    }

    /// The next connection; `None` when the switch is off. Errors: as the system gives them.
    pub async fn accept(
        &self,
        accept_switch: &AcceptSwitch,
    ) -> Option<io::Result<(Socket, RemoteAddr)>> {
        #[cfg(test)]
        if let Some(kernel) = crate::simulated::kernel() {
            let fd = self.fd();
            return poll_fn(|cx| {
                if accept_switch.is_closed() {
                    Poll::Ready(None)
                } else {
                    kernel
                        .poll_accept(fd, cx)
                        .map(|came| Some(Ok(simulated::accepted(came))))
                }
            })
            .await;
        }
        let stop = accept_switch.handle()?;
        let accepted = self.accept_until(stop).await;
        if accepted.is_err() && accept_switch.handle().is_none() {
            return None;
        }
        Some(accepted)
    }

    /// The next of the connections that are in the socket's queue already; `None` if the queue is empty. For a
    /// listener that is about to be closed: closing it would reset them. Errors: no connection could be accepted
    /// although one may wait.
    pub async fn accept_waiting(&self, turn: &Turn) -> Option<io::Result<(Socket, RemoteAddr)>> {
        #[cfg(test)]
        if let Some(kernel) = crate::simulated::kernel() {
            let fd = self.fd();
            turn.pass().await;
            let came = poll_fn(|cx| {
                if kernel.has_waiting(fd) {
                    kernel.poll_accept(fd, cx).map(Some)
                } else {
                    Poll::Ready(None)
                }
            });
            return came.await.map(|came| Ok(simulated::accepted(came)));
        }
        let canceller = Canceller::new();
        let mut accepting = pin!(self.accept_until(canceller.handle()));
        let mut passing = pin!(turn.pass());
        let accepted = poll_fn(|cx| match accepting.as_mut().poll(cx) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            Poll::Pending => passing.as_mut().poll(cx).map(|()| None),
        });
        match accepted.await {
            Some(accepted) => Some(accepted),
            None => {
                drop(canceller.cancel());
                match accepting.await {
                    Err(error) if !is_exhausted(&error) => None, // The client has given up.
                    accepted => Some(accepted),
                }
            }
        }
    }

    /// Whether a connection is in the socket's queue. Does not block.
    #[expect(
        unsafe_code,
        reason = "the engine gives away its descriptor as a number alone"
    )]
    pub fn has_waiting(&self) -> bool {
        #[cfg(test)]
        if let Some(kernel) = crate::simulated::kernel() {
            return kernel.has_waiting(self.fd());
        }
        // SAFETY: the listener has the descriptor open for longer than this call lasts.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd()) };
        has_event(fd, PollFlags::IN)
    }

    fn fd(&self) -> RawFd {
        match &self.socket {
            Socketed::Tcp(listener) => listener.as_raw_fd(),
            Socketed::Unix(listener) => listener.as_raw_fd(),
        }
    }

    async fn accept_until(&self, stop: CancelHandle) -> io::Result<(Socket, RemoteAddr)> {
        count_operation();
        let (stream, peer) = match &self.socket {
            Socketed::Tcp(listener) => {
                let (stream, address) = listener.cancelable_accept(stop).await?;
                (
                    Socket::new(stream, CountedSocket::new(SocketSide::Accepted)),
                    RemoteAddr::Tcp(address),
                )
            }
            Socketed::Unix(listener) => {
                let (stream, _) = listener.cancelable_accept(stop).await?;

                (
                    Socket::of_unix(stream, CountedSocket::new(SocketSide::Accepted))?,
                    RemoteAddr::Unix,
                )
            }
        };
        // The engine's accept cannot ask for a descriptor that no child process inherits.
        rustix::io::fcntl_setfd(stream.plain.fd(), FdFlags::CLOEXEC)?;
        Ok((stream, peer))
    }
}

fn set_blocking(socket: &OwnedFd, blocking: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(socket)?;
    flags.set(OFlags::NONBLOCK, !blocking);
    Ok(fcntl_setfl(socket, flags)?)
}

/// Whether an error says that descriptors or memory ran out, so that trying again at once would only spin.
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
