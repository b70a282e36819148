//! Opens a connection, with a TLS handshake where the check says how, and closes it again.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRent};

use super::{Outcome, Question};

/// Passes if the backend accepts a connection.
pub struct Connect;

impl Question for Connect {
    async fn ask(self, _: impl AsyncReadRent + AsyncWriteRent) -> io::Result<Outcome> {
        Ok(Ok("connected".to_owned()))
    }
}
