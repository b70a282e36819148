//! The events in received bytes, each for its stream.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::{MultiplexConnection, MultiplexStream, Terms};
use crate::base::limits;
use crate::base::memory;
use crate::base::time::Micros;
use crate::http::h2::{ConnectionError, ErrorCode, H2Event, Role, StreamId};
use crate::http::refusal::Refusal;
use crate::worker::multiplex::state::{Gone, ReadRate, StreamInput};

impl MultiplexConnection {
    /// Processes `bytes` and notifies the streams. Behind each request that came whole, and has others behind it, its
    /// task runs first: what one task has used is still near the processor when the next request uses the same task.
    /// The output waits until all bytes are processed. Errors: the connection has to end.
    pub(super) async fn take_in(
        self: &Rc<Self>,
        bytes: &[u8],
        terms: &Terms<'_>,
    ) -> Result<(), ConnectionError> {
        let now = Micros::now();
        if !bytes.is_empty() {
            self.note_life();
            let heard = self.heard_bytes.get() + bytes.len() as u64;
            self.heard_bytes.set(heard);
        }
        let mut rest = bytes;
        self.takes_in.set(true);
        let taken = loop {
            let Some(taken) = self.take_event(&mut rest, now, terms) else {
                break Ok(());
            };
            match taken {
                Ok(true) if !rest.is_empty() => pass().await,
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        self.takes_in.set(false);
        taken?;
        let refused = self.protocol().take_refused();
        if refused > 0 {
            (terms.refused)(refused);
        }
        self.wake_waiting();
        self.wake_sender();
        Ok(())
    }

    /// Processes the first bytes of `rest`, up to an event. The result says whether the event is a whole request;
    /// `None`: there are no bytes. Errors: the connection has to end.
    fn take_event(
        self: &Rc<Self>,
        rest: &mut &[u8],
        now: Micros,
        terms: &Terms<'_>,
    ) -> Option<Result<bool, ConnectionError>> {
        if rest.is_empty() {
            return None;
        }
        let mut protocol = self.protocol();
        if self.role == Role::Server {
            protocol.bound_streams(memory::stream_bound());
        }
        let (used, event) = match protocol.receive(rest, now) {
            Ok(received) => received,
            Err(error) => return Some(Err(error)),
        };
        debug_assert!(used > 0, "each step reads a byte at least");
        *rest = &rest[used..];
        let is_request =
            self.role == Role::Server && matches!(event, Some(H2Event::Head { end: true, .. }));
        let unwanted = event.map_or(0, |event| self.tell(event, terms));
        if unwanted > 0 {
            protocol.release_connection(unwanted);
        }
        Some(Ok(is_request))
    }

    /// Passes an event on to its stream. The result is the number of bytes of a body that no stream takes.
    fn tell(self: &Rc<Self>, event: H2Event<'_>, terms: &Terms<'_>) -> u32 {
        match event {
            H2Event::Head { stream, head, end } => {
                let state = self.state_of(stream, terms);
                let mut own = self.free_heads.borrow_mut().pop().unwrap_or_default();
                std::mem::swap(&mut own, head);
                state.heads.borrow_mut().push_back((own, end));
                state.ended.set(end);
                state.wake();
            }
            H2Event::Refused {
                stream, refusal, ..
            } => self.state_of(stream, terms).lose(Gone::Malformed(refusal)),
            H2Event::Body { stream, bytes, end } => {
                let streams = self.streams.borrow();
                let Some(state) = streams.get(&stream) else {
                    return bytes.len() as u32;
                };
                debug_assert!(!state.ended.get(), "a message has one end");
                let mut body = state.body.borrow_mut();
                if body.capacity() == 0 && !bytes.is_empty() {
                    *body = terms.blocks.take();
                }
                body.extend(bytes);
                state.ended.set(end);
                state.wake();
            }
            H2Event::Trailers { stream, lines } => {
                if let Some(state) = self.streams.borrow().get(&stream) {
                    debug_assert!(!state.ended.get(), "trailers are the end");
                    state.trailers.replace(lines.to_vec());
                    state.ended.set(true);
                    state.wake();
                }
            }
            H2Event::RefusedTrailers { stream, refusal } => {
                if let Some(state) = self.streams.borrow().get(&stream) {
                    state.refused.set(Some(refusal));
                    state.wake();
                }
            }
            H2Event::Reset {
                stream,
                code,
                by_us,
            } => {
                if let Some(state) = self.streams.borrow_mut().remove(&stream) {
                    state.lose(match (self.role, code) {
                        // The backend has answered the request in a way that breaks a rule, so that the request may
                        // have been processed.
                        (Role::Client, _) if by_us => Gone::Malformed(Refusal::BadFrame),
                        // A refused stream was not processed (RFC 9113 section 8.7).
                        (Role::Client, ErrorCode::REFUSED_STREAM) => Gone::Unprocessed,
                        _ => Gone::Reset(code),
                    });
                }
            }
            // Streams beyond the last one that a GOAWAY names were not processed (RFC 9113 section 6.8).
            H2Event::GoAway { last, .. } => self.lose_beyond(last),
            H2Event::Pong => self.silent_since.set(None),
            H2Event::Settings => {
                // Waiting streams stay counted until they are opened: see [`MultiplexConnection::has_room`].
                let unsettled = self.unsettled.borrow();
                unsettled.iter().for_each(|state| state.wake());
            }
        }
        0
    }

    /// The state of a stream. If the peer has just opened the stream, its state is made.
    fn state_of(self: &Rc<Self>, id: StreamId, terms: &Terms<'_>) -> Rc<StreamInput> {
        if let Some(state) = self.streams.borrow().get(&id) {
            return state.clone();
        }
        let state = Rc::<StreamInput>::default();
        if self.role == Role::Server {
            self.streams.borrow_mut().insert(id, state.clone());
            self.busy_at.set(self.timers.millis());
            self.is_at_rest.set(false);
            (terms.begin)(MultiplexStream::new(self.clone(), id, state.clone()));
        }
        state
    }

    /// Ends the streams whose requests are not complete, because no more bytes of them will come.
    pub(super) fn lose_unfinished(&self) {
        let is_unfinished = |_: &StreamId, state: &mut Rc<StreamInput>| !state.ended.get();
        for (_, state) in self.streams.borrow_mut().extract_if(is_unfinished) {
            state.lose(Gone::Lost);
        }
        #[cfg(test)]
        if crate::simulated::is_planted(crate::simulated::Fault::AwaitsTheDead) {
            return;
        }
        // The answers of these streams are complete: only the rest of their requests was waited for.
        for (id, _) in self.answered_early.take() {
            self.protocol().reset(id, self.late_code());
        }
    }

    /// Whether there are streams, and none of them has an answer that must be taken at the least rate.
    pub(super) fn is_at_leisure(&self) -> bool {
        let streams = self.streams.borrow();
        !streams.is_empty() && !streams.values().any(is_at_rate)
    }

    /// Ends the streams whose answers must be taken at the least rate. If there are other streams, which wait for their
    /// answers or may be taken slowly, the slow streams are reset. False: there are no other streams, so that the
    /// connection may end.
    pub(super) fn lose_at_rate(&self) -> bool {
        let mut streams = self.streams.borrow_mut();
        if streams.values().all(is_at_rate) {
            streams.values().for_each(|state| state.lose(Gone::TooSlow));
            return false;
        }
        let mut protocol = self.protocol();
        for (id, state) in streams.extract_if(|_, state| is_at_rate(state)) {
            protocol.reset(id, ErrorCode::CANCEL);
            state.lose(Gone::TooSlow);
        }
        true
    }

    fn lose_beyond(&self, last: StreamId) {
        if self.role == Role::Client {
            let beyond = |id: &StreamId, _: &mut Rc<StreamInput>| *id > last;
            for (_, state) in self.streams.borrow_mut().extract_if(beyond) {
                state.lose(Gone::Unprocessed);
            }
        }
    }

    /// Wakes the streams whose turn it is to send bytes that they could not send before: as many as may fill the
    /// output.
    pub(super) fn wake_waiting(&self) {
        let mut protocol = self.protocol();
        let streams = self.streams.borrow();
        for _ in 0..limits::H2_OUTPUT_BYTES / limits::H2_TURN_BYTES {
            match protocol.next_to_send() {
                Some(id) => streams.get(&id).into_iter().for_each(|state| state.wake()),
                None => return,
            }
        }
    }
}

/// Lets the tasks run that are ready.
async fn pass() {
    let mut has_passed = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_passed, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn is_at_rate(state: &Rc<StreamInput>) -> bool {
    state.reading.get() == ReadRate::AtRate
}
