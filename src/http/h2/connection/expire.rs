//! What must happen in time.

use super::{Connection, Ending};
use crate::base::limits::{H2_DRAIN_MILLIS, H2_SETTINGS_MILLIS, H2_STALL_MILLIS};
use crate::base::time::Micros;
use crate::http::h2::error::{Abuse, ConnectionError, ErrorCode};
use crate::http::h2::{Role, StreamId};

impl Connection {
    /// When [`Connection::expire`] has something to do, as far as is known now.
    pub fn deadline(&self) -> Option<Micros> {
        let settings = self
            .unacknowledged
            .map(|sent| after(sent, H2_SETTINGS_MILLIS));
        let drain = match self.ending {
            Ending::Announced(at) => Some(after(at, H2_DRAIN_MILLIS)),
            _ => None,
        };
        [settings, drain, self.stall_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// (A backend that takes no body may be answering meanwhile; what is sent to it is bounded by the exchange.)
    fn stall_deadline(&self) -> Option<Micros> {
        if self.role == Role::Client {
            return None;
        }
        let stalled = self
            .waiting
            .iter()
            .filter_map(|id| self.streams.get(id)?.stall);
        stalled
            .map(|stall| after(stall.since, H2_STALL_MILLIS))
            .min()
    }

    /// Does what is due. Gives a stream that was reset because its window stayed shut; call again until there is none.
    ///
    /// Errors: the peer did not acknowledge our SETTINGS, or keeps shut the windows of all its streams or of too many.
    pub fn expire(&mut self, now: Micros) -> Result<Option<StreamId>, ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self
            .unacknowledged
            .is_some_and(|sent| after(sent, H2_SETTINGS_MILLIS) <= now)
        {
            return Err(self.fail(ConnectionError::SettingsTimeout));
        }
        if let Ending::Announced(at) = self.ending
            && after(at, H2_DRAIN_MILLIS) <= now
        {
            self.finish_drain();
        }
        if self.role == Role::Client {
            return Ok(None);
        }
        self.expire_stall(now)
            .map_err(|abuse| self.fail(abuse.into()))
    }

    fn expire_stall(&mut self, now: Micros) -> Result<Option<StreamId>, Abuse> {
        let is_due = |id: &StreamId| {
            let stall = self.streams.get(id).and_then(|stream| stream.stall);
            stall.is_some_and(|stall| after(stall.since, H2_STALL_MILLIS) <= now)
        };
        let mut due = self.waiting.iter().copied().filter(is_due);
        let Some(first) = due.next() else {
            return Ok(None);
        };
        if 1 + due.count() == self.streams.len() {
            return Err(Abuse::WindowStall);
        }
        self.floods.count(Abuse::WindowStall, now)?;
        self.reset(first, ErrorCode::ENHANCE_YOUR_CALM);
        Ok(Some(first))
    }
}

fn after(start: Micros, millis: u64) -> Micros {
    Micros(start.0.saturating_add(millis * 1_000))
}
