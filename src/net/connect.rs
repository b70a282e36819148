//! Opening connections to backends.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use monoio::net::{TcpStream, UnixStream};
use rustix::net::sockopt;

use super::Socket;
use super::operations::count_operation;
use crate::base::limits;
use crate::shared::sockets::{CountedSocket, SocketSide};

/// Connects to a TCP address. May be dropped at any time: the attempt is then given up.
pub async fn connect_tcp(addr: SocketAddr) -> io::Result<Socket> {
    count_operation();
    let counted = CountedSocket::new(SocketSide::Connected);
    #[cfg(test)]
    if let Some(kernel) = crate::simulated::kernel() {
        return Ok(Socket::simulated(kernel.connect(addr).await?, counted));
    }
    let socket = TcpStream::connect_addr(addr).await?;
    socket.set_nodelay(true)?;
    let socket = Socket::new(socket, counted);
    // The connection ends when the backend's kernel leaves what was sent unacknowledged for too long: by itself this
    // kernel would go on trying for a quarter of an hour. That it cannot be set is no reason not to use the connection.
    let millis = limits::UPSTREAM_UNACKNOWLEDGED_MILLIS;
    let _ = sockopt::set_tcp_user_timeout(socket.plain.fd(), millis);
    Ok(socket)
}

/// Connects to a Unix socket. May be dropped at any time.
pub async fn connect_unix(path: &Path) -> io::Result<Socket> {
    count_operation();
    let counted = CountedSocket::new(SocketSide::Connected);
    let socket = UnixStream::connect(path).await?;
    Socket::of_unix(socket, counted)
}
