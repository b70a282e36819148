//! The access log and the management API as the configuration names them.

use std::path::PathBuf;

use crate::base::addresses::{ListenAddr, SocketAccess};
use crate::tls::TlsServerSettings;

/// The access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The file or pipe that lines are written to.
    pub path: PathBuf,
    /// The form of a line.
    pub format: AccessLogFormat,
}

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// A JSON object with a fixed set of keys.
    Json,
    /// The Combined Log Format of Apache, with more values behind it.
    Combined,
}

/// Where the management API listens, and which files belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address of the management API.
    pub listen_addr: ListenAddr,
    /// The access rights of a Unix socket.
    pub access: SocketAccess,
    /// Holds the token without which nothing may be changed, nor read unless there is a `read_token_file`. `None`: no
    /// token is asked for; only on loopback or a Unix socket, or where clients must have a certificate.
    pub token_file: Option<PathBuf>,
    /// Holds a token that suffices for reading.
    pub read_token_file: Option<PathBuf>,
    /// Where what the API changed outlives the process. `None`: it does not.
    pub state_file: Option<PathBuf>,
    /// The settings that `Snapshot::admin_tls` is built from. `None`: cleartext.
    pub tls: Option<TlsServerSettings>,
}
