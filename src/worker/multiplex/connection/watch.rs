//! What is due on a connection although nothing comes: an idle connection ends, streams that hold others up are
//! reset.

use std::time::Duration;

use super::{Connection, Terms};
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::{ConnectionError, ErrorCode};
use crate::worker::multiplex::state::Gone;

const CHECK: Duration = Duration::from_millis(limits::H2_CHECK_MILLIS);

impl Connection {
    /// The connection is made.
    pub(super) fn note_connected(&self) {
        self.connected.set(true);
        let streams = self.streams.borrow();
        streams.values().for_each(|state| state.wake());
        self.busy_at.set(self.timers.millis());
    }

    /// How long nothing needs to be looked at if nothing comes.
    pub(super) fn patience(&self, terms: &Terms<'_>) -> Duration {
        let protocol = self.protocol.borrow();
        if protocol.open_streams() > 0 || protocol.deadline().is_some() {
            return CHECK;
        }
        let idle = self.timers.millis().saturating_sub(self.busy_at.get());
        terms.idle.saturating_sub(Duration::from_millis(idle))
    }

    /// Does what is due: once in a while, and when the connection is unwanted.
    pub(super) fn check(&self, now: u64, terms: &Terms<'_>) -> Result<(), ConnectionError> {
        let mut protocol = self.protocol();
        if protocol.open_streams() > 0 {
            self.busy_at.set(now);
        }
        let idle = Duration::from_millis(now.saturating_sub(self.busy_at.get()));
        if idle >= terms.idle || (terms.is_unwanted)() {
            protocol.drain(Micros::now());
        } else if protocol.open_streams() == 0 {
            protocol.shed();
            self.free_heads.take();
            (terms.rest)();
        }
        while let Some((id, _)) = self
            .answered_early
            .borrow_mut()
            .pop_front_if(|(_, due)| *due <= now)
        {
            protocol.reset(id, ErrorCode::NO_ERROR);
        }
        while let Some(id) = protocol.expire(Micros::now())? {
            if let Some(state) = self.streams.borrow_mut().remove(&id) {
                state.lose(Gone::Reset(ErrorCode::ENHANCE_YOUR_CALM));
            }
        }
        self.wake_sender();
        Ok(())
    }
}
