//! Addresses that the program listens on and connects to, and what belongs to a listening address.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The permissions of a Unix socket's file, which decide who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    /// Permissions, as in chmod(2); a client needs the permission to write.
    pub mode: u32,
    /// User id; `None`: the user of the process.
    pub owner: Option<u32>,
    /// Group id; `None`: the group of the process, or of the folder (see open(2)).
    pub group: Option<u32>,
}

impl SocketAccess {
    /// Access with the permissions `mode`, without a change of owner or group.
    pub fn of_mode(mode: u32) -> SocketAccess {
        SocketAccess {
            mode,
            owner: None,
            group: None,
        }
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddr {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Tcp(addr) => addr.fmt(f),
            ListenAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A backend's transport address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BackendAddr {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// The purpose of a listening socket. A client in the socket's queue came for this purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// The part of the program that accepts there.
    pub server: ServerKind,
    /// Whether HTTP is spoken there without TLS.
    pub is_cleartext: bool,
}

/// The part of the program that accepts connections on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// The workers.
    Proxy,
    /// The management API.
    Admin,
    /// A test server of `[test_server]`.
    TestServer,
}
