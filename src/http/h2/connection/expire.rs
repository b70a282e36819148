//! What must happen in time.

use std::time::Duration;

use super::{Connection, Ending};
use crate::base::limits::{H2_DRAIN_MILLIS, H2_SETTINGS_MILLIS};
use crate::base::time::Micros;
use crate::http::h2::Role;
use crate::http::h2::error::{Abuse, ConnectionError};

/// How long a peer is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a client may let everything stand still.
    pub idle: Duration,
    /// How long a field section may take, or a frame that is needed in one piece, from its first byte.
    pub head: Duration,
}

impl Connection {
    /// When [`Connection::expire`] has something to do, as far as is known now.
    pub fn deadline(&self) -> Option<Micros> {
        let settings = self.settings_deadline();
        let drain = match self.ending {
            Ending::Announced(at) => Some(after(at, H2_DRAIN_MILLIS)),
            _ => None,
        };
        [settings, drain].into_iter().flatten().min()
    }

    /// Does what is due.
    ///
    /// Errors: the peer did not acknowledge our SETTINGS, or what it began to send did not come to its end, or nothing
    /// moves because it keeps all windows shut.
    pub fn expire(&mut self, now: Micros, patience: Patience) -> Result<(), ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self
            .settings_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            return Err(self.fail(ConnectionError::SettingsTimeout));
        }
        if let Ending::Announced(at) = self.ending
            && after(at, H2_DRAIN_MILLIS) <= now
        {
            self.finish_drain();
        }
        if self
            .incomplete_since
            .is_some_and(|since| since.after(patience.head) <= now)
        {
            return Err(self.fail(ConnectionError::HeadTimeout));
        }
        match self.moved_at.after(patience.idle) <= now && self.is_shut() {
            true => Err(self.fail(Abuse::WindowStall.into())),
            false => Ok(()),
        }
    }

    /// When the acknowledgement of our SETTINGS is due: some time after the peer was last heard of, because it may stand
    /// behind a large body on a thin line.
    fn settings_deadline(&self) -> Option<Micros> {
        let sent = self.unacknowledged?;
        Some(after(sent.max(self.heard_at), H2_SETTINGS_MILLIS))
    }

    /// Whether a client keeps shut the windows of all its streams, on each of which something waits to be sent. (One
    /// stream that waits for something else, such as an answer, keeps the others from ending with it. A backend that
    /// takes no body may be answering meanwhile; what is sent to it is bounded by the exchange.)
    fn is_shut(&self) -> bool {
        let mut streams = self.streams.values();
        let has_any = !self.streams.is_empty();
        self.role == Role::Server
            && has_any
            && streams
                .all(|stream| stream.waits && (stream.send_window <= 0 || self.send_window <= 0))
    }
}

fn after(start: Micros, millis: u64) -> Micros {
    Micros(start.0.saturating_add(millis * 1_000))
}
