//! Opens a connection and closes it again.

use monoio::net::{TcpStream, UnixStream};

use super::{Outcome, describe};
use crate::snapshot::BackendAddr;

/// Passes if the backend accepts a connection.
pub async fn probe(addr: &BackendAddr) -> Outcome {
    let connected = match addr {
        BackendAddr::Tcp(addr) => TcpStream::connect_addr(*addr).await.map(drop),
        BackendAddr::Unix(path) => UnixStream::connect(path).await.map(drop),
    };
    match connected {
        Ok(()) => Ok("connected".to_owned()),
        Err(error) => Err(describe(&error)),
    }
}
