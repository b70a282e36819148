//! Deadlines of a connection and the consequences of missing them.

use std::time::Duration;

use super::{Ending, H2Connection};
use crate::base::limits::{H2_DRAIN_MILLIS, H2_SETTINGS_MILLIS};
use crate::base::time::Micros;
use crate::http::h2::Role;
use crate::http::h2::error::{Abuse, ConnectionError};

/// How long palantir waits for a peer.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a client may let a connection stand still.
    pub idle: Duration,
    /// How long a field section, or a frame that is needed in one piece, may take from its first byte to its last.
    pub head: Duration,
}

impl H2Connection {
    /// When [`H2Connection::expire`] has something to do, as far as is known now.
    pub fn deadline(&self) -> Option<Micros> {
        let settings = self.settings_deadline();
        let drain = match self.ending {
            Ending::Announced(at) => Some(after(at, H2_DRAIN_MILLIS)),
            _ => None,
        };
        [settings, drain].into_iter().flatten().min()
    }

    /// Ends the connection if one of its deadlines has passed. Errors: the peer did not acknowledge our SETTINGS, a
    /// frame or a field section of the peer did not end in time, or nothing moves because the peer keeps all windows
    /// shut.
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
        if self.moved_at.after(patience.idle) <= now && self.is_shut() {
            Err(self.fail(Abuse::WindowStall.into()))
        } else {
            Ok(())
        }
    }

    /// The deadline for the acknowledgement of our SETTINGS. The time is counted from the last bytes of the peer,
    /// because the acknowledgement may follow a large body on a slow line.
    fn settings_deadline(&self) -> Option<Micros> {
        let sent = self.unacknowledged?;
        Some(after(sent.max(self.heard_at), H2_SETTINGS_MILLIS))
    }

    /// Whether a client keeps the windows of all its streams shut while something waits to be sent on each of them. (A
    /// stream that waits for something else, such as an answer, keeps the connection from ending. A backend that takes
    /// no body may be answering meanwhile, and the time-outs of the exchange bound how long it may take nothing.)
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
