//! Bytes and heads that a connection has received for one stream and that the exchange has not taken yet.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Waker};

use crate::http::h2::{ErrorCode, Head};
use crate::http::refusal::Refusal;
use crate::net::Block;

/// A head, and whether the message ends with the head.
pub type Message = (Head, bool);

/// The bytes of a message that one send carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The number of bytes, from the front of their block.
    pub count: usize,
    /// Whether the message ends with these bytes.
    pub is_last: bool,
}

/// The reason why a stream ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The peer reset the stream, or palantir reset it because the peer broke a rule.
    Reset(ErrorCode),
    /// The peer has processed nothing of the stream, so that the request may be repeated (RFC 9113 section 8.7).
    Unprocessed,
    /// The head of the stream breaks a rule.
    Malformed(Refusal),
    /// The connection was lost.
    Lost,
    /// The client takes too few of the bytes that its connection brings.
    TooSlow,
    /// The connection could not be made.
    Unconnected(Unconnected),
}

/// Why a connection could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconnected {
    Failed,
    TimedOut,
    /// The backend does not prove its identity, or speaks no TLS with palantir.
    Untrusted,
    /// The process has no descriptor or memory left.
    Exhausted,
}

/// The rate at which a client must take the answer on a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReadRate {
    /// No answer has begun.
    #[default]
    Nothing,
    AtRate,
    AtLeisure,
}

/// The receiving side of a stream. One task works on the stream.
#[derive(Default)]
pub(super) struct StreamInput {
    /// The heads that have come, in their order.
    pub(super) heads: RefCell<VecDeque<Message>>,
    /// The bytes of the body that have come.
    pub(super) body: RefCell<Block>,
    /// The trailers that have come, each `name: value CRLF`.
    pub(super) trailers: RefCell<Vec<u8>>,
    /// Whether the peer's message is complete.
    pub(super) ended: Cell<bool>,
    /// The reason why the end of the peer's message is refused; `None`: the end is not refused. The stream itself goes
    /// on.
    pub(super) refused: Cell<Option<Refusal>>,
    /// The reason for which the stream has ended before its time.
    pub(super) gone: Cell<Option<Gone>>,
    /// The rate that is demanded of a client that takes the answer.
    pub(super) reading: Cell<ReadRate>,
    waker: RefCell<Option<Waker>>,
}

impl StreamInput {
    /// Has the task woken at the next change.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
    }

    /// Wakes the task that works on the stream.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Ends the stream before its time: nothing more will come, or can be sent. The first reason stays.
    pub(super) fn lose(&self, gone: Gone) {
        if self.gone.get().is_none() {
            self.gone.set(Some(gone));
        }
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn the_first_reason_for_an_end_counts_and_each_wakes_the_task() {
        let state = StreamInput::default();
        state.wake(); // Nobody waits.
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        state.wait(&Context::from_waker(&waker));
        state.lose(Gone::Unprocessed);
        state.lose(Gone::Lost);
        assert_eq!(state.gone.get(), Some(Gone::Unprocessed));
        assert_eq!(woken.0.load(Relaxed), 2);
    }
}
