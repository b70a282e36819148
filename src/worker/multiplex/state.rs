//! Bytes and heads that a connection has received for one stream and nobody has taken yet.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Waker};

use crate::http::h2::{ErrorCode, Head};
use crate::http::refusal::Refusal;
use crate::net::Block;

/// A head, and whether it ends the message.
pub type Message = (Head, bool);

/// The bytes of a message that are sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The number of bytes, from the front of their block.
    pub count: usize,
    /// Whether the message ends with them.
    pub is_last: bool,
}

/// How a stream ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The peer reset it, or we did because the peer broke a rule.
    Reset(ErrorCode),
    /// Nothing of it was processed: it may be repeated elsewhere.
    Unprocessed,
    /// The head of the stream breaks a rule.
    Malformed(Refusal),
    /// The connection was lost.
    Lost,
    /// The client takes too little of what its connection brings.
    TooSlow,
    /// The connection could not be made.
    Unconnected(Unconnected),
}

/// Why a connection could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconnected {
    Failed,
    TimedOut,
    /// The backend does not prove to be who it should be, or does not speak TLS with us.
    Untrusted,
    /// The process has no descriptor or memory left.
    Exhausted,
}

/// How fast a client must take the answer on a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReadRate {
    /// There is no answer yet.
    #[default]
    Nothing,
    AtRate,
    AtLeisure,
}

/// The receiving side of a stream. One task works on it.
#[derive(Default)]
pub(super) struct StreamInput {
    /// The heads that have come, in their order.
    pub(super) heads: RefCell<VecDeque<Message>>,
    /// The bytes of the body that have come.
    pub(super) body: RefCell<Block>,
    /// Each `name: value CRLF`.
    pub(super) trailers: RefCell<Vec<u8>>,
    /// Whether the peer's message is complete.
    pub(super) ended: Cell<bool>,
    /// The reason why the end of the peer's message is refused. The stream itself goes on.
    pub(super) refused: Cell<Option<Refusal>>,
    /// The reason for which the stream has ended before its time.
    pub(super) gone: Cell<Option<Gone>>,
    /// The rate that is demanded of a client that takes the answer.
    pub(super) reading: Cell<ReadRate>,
    waker: RefCell<Option<Waker>>,
}

impl StreamInput {
    /// Has the task woken when something has changed.
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

    /// Notes that nothing more will come, or can be sent.
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
