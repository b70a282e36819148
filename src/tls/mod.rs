//! The part of TLS that is built outside the workers: certificates and keys are loaded and checked, certificates are
//! found by name, and the settings of rustls for both sides are built from these and the keys of tickets.
//!
//! A [`TlsStore`] loads the files that a configuration names, and keeps the results: a file that did not change gives
//! the next snapshot the same value, and so does a file that can no longer be used. [`FilesRead`] says when to look
//! again. The workers hold what is built here behind `Arc`s and only read it; the one lock that a handshake takes is
//! that of the [`TicketKeys`], for the time of cloning an `Arc`. (One that answers an authority takes that of the
//! [`Challenges`] besides. A [`Hearing`] has one, too, but is a single handshake's.)

mod certificate;
mod challenges;
mod client;
mod client_trust;
mod fault;
mod files;
mod hearing;
mod identity;
mod loaded;
mod ocsp;
mod pair;
mod pem;
mod resolver;
mod roots;
mod server;
mod server_trust;
mod store;
mod ticket_file;
mod ticket_secret;
mod ticket_state;
mod tickets;
mod words;

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use certificate::{subject, unix_secs};
pub use challenges::{ACME_TLS, Challenges, OpenChallenge};
pub use client::TlsClientSettings;
pub use client_trust::ClientTrust;
pub use fault::TlsFault;
pub use files::FilesRead;
pub use hearing::{Heard, Hearing};
pub use identity::{Fact, Unidentified, identify};
pub use pair::{Pair, PairFault, PairFiles, Part, Validity};
pub use server::{ClientCa, TlsServerSettings};
pub use store::{ServerSide, TlsStore};
pub use tickets::{TicketKeys, check_ticket_file};
pub use words::in_words;

/// The settings of the side that connects, as everybody who makes connections with them holds them.
pub type SharedClientConfig = Arc<rustls::ClientConfig>;

/// The protocol that is agreed on in a handshake (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// HTTP/2.
    H2,
    /// HTTP/1.1.
    Http1,
}

impl Alpn {
    /// As the handshake writes it.
    pub fn wire(self) -> &'static [u8] {
        match self {
            Alpn::H2 => b"h2",
            Alpn::Http1 => b"http/1.1",
        }
    }
}

/// The lowest version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MinVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// Where all cryptography comes from.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

#[cfg(test)]
mod tests;
