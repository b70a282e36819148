//! Opens a connection and closes it again.

use std::io;

use monoio::net::{TcpStream, UnixStream};

use super::Outcome;
use crate::snapshot::BackendAddr;

/// Passes if the backend accepts a connection. Errors: it does not.
pub async fn probe(addr: &BackendAddr) -> io::Result<Outcome> {
    match addr {
        BackendAddr::Tcp(addr) => TcpStream::connect_addr(*addr).await.map(drop)?,
        BackendAddr::Unix(path) => UnixStream::connect(path).await.map(drop)?,
    }
    Ok(Ok("connected".to_owned()))
}
