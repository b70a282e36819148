//! Acts that are due on a connection at their time: an idle connection ends, a silent backend is sent a PING, and
//! streams that hold up others are reset.

use std::time::Duration;

use super::{End, MultiplexConnection, Terms};
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::{Patience, Role};

const CHECK: Duration = Duration::from_millis(limits::H2_CHECK_MILLIS);

impl MultiplexConnection {
    /// Whether the backend has not answered a PING yet. A new request prefers another connection meanwhile.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspected_at.get().is_some()
    }

    /// Sends a backend a PING, because it let a request wait for too long. The connection counts as lost if nothing
    /// comes in `limits::H2_PONG_MILLIS`. A connection that is still being made has a deadline of its own.
    pub fn suspect(&self) {
        if self.is_connected() && !self.is_suspect() && !self.deaf.get() {
            self.suspected_at.set(Some(self.timers.millis()));
            self.protocol().ping();
            self.timer.set(CHECK);
            self.wake_sender();
        }
    }

    /// Notes that the connection is made. From now on the backend owes its SETTINGS and the answers to waiting
    /// requests.
    pub(super) fn note_connected(&self) {
        self.connected.set(true);
        let unsettled = self.unsettled.borrow();
        unsettled.iter().for_each(|state| state.wake());
        let now = self.timers.millis();
        self.busy_at.set(now);
        self.silent_since.set(Some(now));
    }

    /// Notes that a stream was opened towards the backend. `is_first`: no other stream is open.
    pub(super) fn note_opened(&self, is_first: bool) {
        let now = self.timers.millis();
        self.busy_at.set(now);
        self.is_at_rest.set(false);
        if is_first {
            self.timer.set(CHECK); // Without a stream the next check was far away.
        }
        if is_first || self.silent_since.get().is_none() {
            self.silent_since.set(Some(now));
        }
    }

    /// Notes that bytes came.
    pub(super) fn note_life(&self) {
        self.heard_at.set(self.timers.millis());
        self.silent_since.set(Some(self.timers.millis()));
        self.suspected_at.set(None);
    }

    /// The time until the next check, if nothing comes.
    pub(super) fn patience(&self, terms: &Terms<'_>) -> Duration {
        let protocol = self.protocol.borrow();
        let is_due_soon =
            protocol.deadline().is_some() || protocol.is_incomplete() || self.is_suspect();
        if protocol.open_streams() > 0 || is_due_soon || !self.is_at_rest.get() {
            return CHECK;
        }
        let idle = self.timers.millis().saturating_sub(self.busy_at.get());
        terms.idle.saturating_sub(Duration::from_millis(idle))
    }

    /// Does what is due: at intervals, and when the connection is unwanted. `is_silent`: nothing has come since the
    /// last check. Errors: the connection has to end.
    pub(super) fn check(&self, now: u64, is_silent: bool, terms: &Terms<'_>) -> Result<(), End> {
        if is_silent && !self.may_live(now) {
            return Err(End::Orderly);
        }
        if self.is_stuck(now, terms) {
            return Err(End::Stuck);
        }
        let is_awaited = self.is_awaited();
        let mut protocol = self.protocol();
        if protocol.open_streams() > 0 || is_awaited {
            self.busy_at.set(now);
        }
        let idle = Duration::from_millis(now.saturating_sub(self.busy_at.get()));
        let is_over = idle >= terms.idle || (!is_awaited && (terms.is_unwanted)());
        let rests = !is_over && !is_awaited && protocol.open_streams() == 0;
        if is_over {
            protocol.drain(Micros::now());
        } else if rests {
            protocol.shed();
            self.free_heads.take();
        }
        while let Some((id, _)) = self
            .answered_early
            .borrow_mut()
            .pop_front_if(|(_, due)| *due <= now)
        {
            protocol.reset(id, self.late_code());
        }
        let patience = Patience {
            idle: terms.idle,
            head: terms.head,
        };
        let expired = protocol.expire(Micros::now(), patience);
        expired.map_err(End::Broken)?;
        drop(protocol);
        if rests {
            self.is_at_rest.set(true);
            (terms.rest)();
        }
        self.wake_sender();
        Ok(())
    }

    /// Whether the socket has taken no bytes of a send for too long. A client has more time while bytes come from it,
    /// or while a stream waits for something other than sending, such as its answer: the client may be busy with
    /// something other than reading. A backend has as much time as its exchanges have.
    fn is_stuck(&self, now: u64, terms: &Terms<'_>) -> bool {
        let Some(since) = self.sending_since.get() else {
            return false;
        };
        let silent = now.saturating_sub(since.max(self.heard_at.get()));
        let awaits_other = match self.role {
            Role::Server => self.protocol.borrow().awaits_owner(),
            // The exchanges have bounds of their own. The kernel and PING find out whether the backend is gone.
            Role::Client => self.open_streams() > 0,
        };
        let is_idle = silent >= terms.idle.as_millis() as u64 && !awaits_other;
        is_idle || now.saturating_sub(since) >= terms.stall.as_millis() as u64
    }

    /// False when a backend has not answered a PING in time. A backend that is silent although it owes an answer is
    /// sent one PING (RFC 9113 section 6.7), and no further one until another request is sent or bytes come: some
    /// backends, such as gRPC's, count PINGs and end a connection that brings many.
    fn may_live(&self, now: u64) -> bool {
        if let Some(at) = self.suspected_at.get() {
            return now.saturating_sub(at) < limits::H2_PONG_MILLIS;
        }
        let silent = self
            .silent_since
            .get()
            .map_or(0, |at| now.saturating_sub(at));
        let owes = self.role == Role::Client && self.open_streams() > 0;
        if owes && silent >= limits::H2_SILENCE_MILLIS {
            self.suspect();
        }
        true
    }
}
