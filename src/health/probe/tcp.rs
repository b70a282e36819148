//! Opens a connection, with a TLS handshake where the check says how, and closes it again.

use std::io;
use std::time::{Duration, Instant};

use super::{ProbeOutcome, Question, is_of_tls};
use crate::base::limits;
use crate::net::{ProbeStream, within};

/// Passes if the backend accepts a connection, and does not refuse this process behind the TLS handshake.
pub struct Connect {
    /// The end of the probe.
    pub end: Instant,
}

impl Question for Connect {
    /// In TLS 1.3 a backend verifies a certificate behind the handshake, of which this side writes the end. Most
    /// backends that accept it say so by a session ticket; of the others the silence passes.
    async fn ask(self, stream: &mut ProbeStream<'_>) -> io::Result<ProbeOutcome> {
        if stream.wrote_last() {
            stream.read_once_more();
            let verdict = Duration::from_millis(limits::TRIAL_VERDICT_MILLIS);
            let left = self.end.saturating_duration_since(Instant::now());
            if let Some(Err(error)) = within(left.min(verdict), stream.receive(1)).await
                && is_of_tls(&error)
            {
                return Err(error);
            }
        }
        Ok(Ok("connected".to_owned()))
    }
}
