//! Opening connections to backends.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::Path;

use monoio::net::{TcpStream, UnixStream};

use super::Socket;
use super::operations::count_operation;
use crate::base::limits;
use crate::shared::sockets::{Counted, Side};

/// Connects to a TCP address. May be dropped at any time: the attempt is then given up.
pub async fn connect_tcp(addr: SocketAddr) -> io::Result<Socket> {
    count_operation();
    let counted = Counted::new(Side::Connected);
    #[cfg(test)]
    if let Some(kernel) = crate::simulated::kernel() {
        let end = kernel.connect(addr).await?;
        return Ok(Socket::simulated(super::simulated::raw(), end, counted));
    }
    let socket = TcpStream::connect_addr(addr).await?;
    socket.set_nodelay(true)?;
    bound_silence(&socket);
    Ok(Socket::new(socket, counted))
}

/// Lets the connection end when the backend's kernel leaves what was sent unacknowledged for too long: by itself this
/// one would go on trying for a quarter of an hour. That it cannot be set is no reason not to use the connection.
fn bound_silence(socket: &TcpStream) {
    let millis = limits::UPSTREAM_UNACKNOWLEDGED_MILLIS;
    // SAFETY: plain system call on a live descriptor with a live argument of the size named.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_USER_TIMEOUT,
            (&raw const millis).cast(),
            size_of_val(&millis) as libc::socklen_t,
        )
    };
}

/// Connects to a Unix socket. May be dropped at any time.
pub async fn connect_unix(path: &Path) -> io::Result<Socket> {
    count_operation();
    let counted = Counted::new(Side::Connected);
    let socket = UnixStream::connect(path).await?;
    Socket::from_fd(socket.into_raw_fd(), counted)
}
