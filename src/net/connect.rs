//! Opening connections to backends.

use std::io;
use std::net::SocketAddr;
use std::os::fd::IntoRawFd;
use std::path::Path;

use monoio::net::{TcpStream, UnixStream};

use super::Socket;
use super::operations::count_operation;

/// Connects to a TCP address. May be dropped at any time: the attempt is then given up.
pub async fn connect_tcp(addr: SocketAddr) -> io::Result<Socket> {
    count_operation();
    let socket = TcpStream::connect_addr(addr).await?;
    socket.set_nodelay(true)?;
    Ok(Socket::new(socket))
}

/// Connects to a Unix socket. May be dropped at any time.
pub async fn connect_unix(path: &Path) -> io::Result<Socket> {
    count_operation();
    let socket = UnixStream::connect(path).await?;
    Socket::from_fd(socket.into_raw_fd())
}
