//! Opens a connection, with a TLS handshake where the check says how, and closes it again.

use std::io;
use std::time::Duration;

use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::time::{Instant, timeout_at};

use super::course::Course;
use super::{Outcome, Question, is_of_tls};
use crate::base::limits;

/// Passes if the backend accepts a connection, and does not refuse this process behind the TLS handshake.
pub struct Connect<'a> {
    /// The course of the connection below TLS.
    pub course: &'a Course,
    /// The end of the probe.
    pub end: Instant,
}

impl Question for Connect<'_> {
    /// In TLS 1.3 a backend verifies a certificate behind the handshake, of which this side writes the end. Most
    /// backends that accept it say so by a session ticket; of the others the silence passes.
    async fn ask(self, mut stream: impl AsyncReadRent + AsyncWriteRent) -> io::Result<Outcome> {
        if self.course.has_last_word() {
            self.course.read_once_more();
            let verdict = Duration::from_millis(limits::TRIAL_VERDICT_MILLIS);
            let until = self.end.min(Instant::now() + verdict);
            let reading = stream.read(Vec::with_capacity(1));
            if let Ok((Err(error), _)) = timeout_at(until, reading).await
                && is_of_tls(&error)
            {
                return Err(error);
            }
        }
        Ok(Ok("connected".to_owned()))
    }
}
