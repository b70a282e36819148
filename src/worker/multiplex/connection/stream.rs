//! One stream of an HTTP/2 connection, as an exchange uses it.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::MultiplexConnection;
use crate::base::ids::BackendId;
use crate::base::time::Micros;
use crate::http::h2::{ErrorCode, Head, Role, StreamId, to_h2};
use crate::http::refusal::Refusal;
use crate::net::{Block, Expired, Timer};
use crate::worker::multiplex::state::{Gone, Message, Piece, ReadRate, StreamInput};

/// A stream. A stream whose messages are not complete when it is dropped is reset.
pub struct MultiplexStream {
    connection: Rc<MultiplexConnection>,
    /// The number of the stream; 0: towards a backend, the request is not sent yet.
    id: Cell<StreamId>,
    state: Rc<StreamInput>,
    /// Whether the head of the final answer was sent, towards a client.
    answered: Cell<bool>,
    /// Whether the end of palantir's message was sent.
    finished: Cell<bool>,
    /// Whether the whole answer was taken, from a backend. The end of the stream may still have to come.
    has_answer: Cell<bool>,
    /// The core's millisecond in which the end of palantir's message was sent, or the whole answer was taken.
    finished_at: Cell<u64>,
    /// Bytes that were received last, and may not be passed on yet. The peer's window grows by as many bytes only when
    /// more are to be received, so that a stream whose bytes no receiver takes holds no more than its window.
    taken: Cell<usize>,
}

impl MultiplexStream {
    /// A stream of a connection; `id` is 0 if the stream is not open yet.
    pub(super) fn new(
        connection: Rc<MultiplexConnection>,
        id: StreamId,
        state: Rc<StreamInput>,
    ) -> MultiplexStream {
        MultiplexStream {
            connection,
            id: Cell::new(id),
            state,
            answered: Cell::default(),
            finished: Cell::default(),
            has_answer: Cell::default(),
            finished_at: Cell::default(),
            taken: Cell::default(),
        }
    }

    /// The number of bytes that have come on the stream's connection, and how many streams share the connection.
    pub fn connection_bytes(&self) -> (u64, usize) {
        let connection = &self.connection;
        (connection.heard_bytes(), connection.open_streams())
    }

    /// Takes the next received head, if there is one. Errors: no head will come.
    pub fn take_head(&self) -> Result<Option<Message>, Gone> {
        match self.state.heads.borrow_mut().pop_front() {
            Some(message) => Ok(Some(message)),
            None => self.state.gone.get().map_or(Ok(None), Err),
        }
    }

    /// Puts a head back that [`MultiplexStream::take_head`] gave, so that the next call gives it again.
    pub fn put_head_back(&self, message: Message) {
        self.state.heads.borrow_mut().push_front(message);
    }

    /// Waits for the next head. Errors: no head will come.
    pub fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<Message, Gone>> {
        match self.take_head() {
            Ok(Some(message)) => Poll::Ready(Ok(message)),
            Ok(None) => {
                self.state.wait(cx);
                Poll::Pending
            }
            Err(gone) => Poll::Ready(Err(gone)),
        }
    }

    /// Exempts the client from the least rate of reading the answer.
    pub fn allow_leisure(&self) {
        self.state.reading.set(ReadRate::AtLeisure);
    }

    /// Gives the memory of a head back.
    pub fn give_head(&self, head: Head) {
        self.connection.give_head(head);
    }

    /// Whether the stream ended because its connection did.
    pub fn is_connection_lost(&self) -> bool {
        self.state.gone.get() == Some(Gone::Lost)
    }

    /// Waits until the connection to the backend is made. Errors: the connection will not be made. A connection that is
    /// still being made gets no request, because a request that leaves for another backend must not be sent on it
    /// later.
    pub fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        match self.connection.awaits_socket(&self.state) {
            Ok(true) => {
                self.state.wait(cx);
                Poll::Pending
            }
            Ok(false) => Poll::Ready(Ok(())),
            Err(gone) => Poll::Ready(Err(gone)),
        }
    }

    /// Waits until the backend has announced whether it takes an extended CONNECT. Errors: the backend will not
    /// announce it.
    pub fn poll_extended_connect(&self, cx: &mut Context<'_>) -> Poll<Result<bool, Gone>> {
        match self.connection.takes_extended_connect(&self.state) {
            Ok(Some(takes)) => Poll::Ready(Ok(takes)),
            Ok(None) => {
                self.state.wait(cx);
                Poll::Pending
            }
            Err(gone) => Poll::Ready(Err(gone)),
        }
    }

    /// The backend that the connection was made to; `None`: the connection is not made yet.
    pub fn backend(&self) -> Option<BackendId> {
        self.connection.backend()
    }

    /// Ready when the stream has ended before its time.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Gone> {
        if let Some(gone) = self.state.gone.get() {
            return Poll::Ready(gone);
        }
        self.state.wait(cx);
        Poll::Pending
    }

    /// The reason why the end of the peer's message is refused; `None`: the end is not refused.
    pub fn refused(&self) -> Option<Refusal> {
        self.state.refused.get()
    }

    /// Whether the stream ended because its client takes too few bytes.
    pub fn is_too_slow(&self) -> bool {
        self.state.gone.get() == Some(Gone::TooSlow)
    }

    /// Whether the stream has ended before its time.
    pub fn is_gone(&self) -> bool {
        self.state.gone.get().is_some()
    }

    /// Sends the backend a PING, because it let this stream wait for too long.
    pub fn suspect(&self) {
        self.connection.suspect();
    }

    /// Ready when there are bytes, an end or a failure to receive.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let state = &self.state;
        let has_failed = state.gone.get().is_some() || state.refused.get().is_some();
        if state.ended.get() || has_failed || !state.body.borrow().is_empty() {
            return Poll::Ready(());
        }
        self.release(true);
        state.wait(cx);
        Poll::Pending
    }

    /// Opens the peer's window by the number of bytes that were received before. `wants_more`: the exchange waits for
    /// more bytes.
    fn release(&self, wants_more: bool) {
        let taken = self.taken.take();
        if taken > 0 {
            self.connection.release(self.id.get(), taken, wants_more);
        }
    }

    /// Receives at most `most` bytes of the body that are there, behind the content of `block`. 0: the body is
    /// complete. Errors: [`io::ErrorKind::WouldBlock`] if no bytes are there yet; the stream is gone.
    pub fn receive(&self, block: &mut Block, most: usize) -> io::Result<usize> {
        debug_assert!(most > 0, "a receive of nothing looks like an end");
        let mut body = self.state.body.borrow_mut();
        self.release(body.is_empty());
        if body.is_empty() {
            return match (self.state.ended.get(), self.state.gone.get()) {
                (true, _) => Ok(0),
                (false, Some(_)) => Err(io::ErrorKind::ConnectionReset.into()),
                (false, None) if self.refused().is_some() => Err(io::ErrorKind::InvalidData.into()),
                (false, None) => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let count = body.len().min(most);
        if block.is_empty() && count == body.len() {
            std::mem::swap(block, &mut *body);
        } else {
            let count = count.min(block.room());
            block.extend(&body.filled()[..count]);
            body.consume(count);
        }
        debug_assert_eq!(
            self.taken.get(),
            0,
            "room was given back before more is received"
        );
        self.taken.set(count);
        Ok(count)
    }

    /// Bytes of the body that were received and not taken.
    pub fn held(&self) -> usize {
        self.state.body.borrow().len()
    }

    /// Whether the whole of the peer's message was received and taken.
    pub fn has_ended(&self) -> bool {
        self.state.ended.get() && self.state.body.borrow().is_empty()
    }

    /// The trailers that came behind the body, each `name: value CRLF`. A second call gives none.
    pub fn take_trailers(&self) -> Vec<u8> {
        self.state.trailers.take()
    }

    /// Sends the head of a response, which is written in the form of HTTP/1, and takes it out of `answer`; the bytes
    /// behind the head stay. `is_last`: nothing follows the head. Errors: the client has given the stream up.
    pub fn answer(&self, answer: &mut Block, is_last: bool) -> io::Result<()> {
        let length = to_h2::head_bytes(answer.filled());
        let (status, fields) = to_h2::response(&answer.filled()[..length]);
        // HTTP/1 switches protocols by 101; over HTTP/2 a success opens the tunnel (RFC 8441 section 5).
        let status = if status == 101 { 200 } else { status };
        // A stream carries one final answer (RFC 9113 section 8.1). A receiver that got two could take the second for
        // the answer to another request.
        let is_second = self.answered.replace(self.answered.get() || status >= 200);
        #[cfg(test)]
        let is_second =
            is_second && !crate::simulated::is_planted(crate::simulated::Fault::AnswersTwice);
        if is_second {
            debug_assert!(false, "a second answer on a stream of HTTP/2");
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.answered.get() && self.state.reading.get() == ReadRate::Nothing {
            self.state.reading.set(ReadRate::AtRate);
        }
        let mut protocol = self.connection.protocol();
        let sent = protocol.send_head(self.id.get(), status, fields, is_last);
        drop(protocol);
        answer.consume(length);
        self.note_sent(sent.is_ok(), is_last)
    }

    /// Sends the head of a request, which is written in the form of HTTP/1, and takes it out of `request`; the bytes
    /// behind the head stay. `is_last`: nothing follows the head. `is_websocket`: the head is sent as an extended
    /// CONNECT. Errors: the connection takes no more streams.
    pub fn ask(
        &self,
        request: &mut Block,
        scheme: &str,
        is_last: bool,
        is_websocket: bool,
    ) -> io::Result<()> {
        let length = to_h2::head_bytes(request.filled());
        let head = &request.filled()[..length];
        let (asked, fields) = to_h2::request(head, scheme, is_websocket);
        let id = self.connection.open(&asked, fields, is_last, &self.state);
        debug_assert_eq!(self.id.get(), 0, "a stream carries one request");
        request.advance(length);
        self.id.set(id.unwrap_or_default());
        if id.is_none() {
            self.state.lose(Gone::Unprocessed);
        }
        self.note_sent(id.is_some(), is_last)
    }

    /// Refuses malformed trailers of the answer, even if they have only one reading.
    pub fn refuse_odd_trailers(&self) {
        let id = self.id.get();
        self.connection.protocol().refuse_odd_trailers(id);
    }

    /// Sends trailers, each `name: value CRLF`, which end palantir's message. Errors: the peer has given the stream up.
    pub fn send_trailers(&self, lines: &[u8]) -> io::Result<()> {
        debug_assert!(!self.finished.get(), "a message has one end");
        let mut protocol = self.connection.protocol();
        let sent = protocol.send_trailers(self.id.get(), to_h2::trailers(lines));
        drop(protocol);
        self.note_sent(sent.is_ok(), true)
    }

    /// Sends a piece of a message from the front of `block` as the peer's windows allow, at most until the timer's
    /// deadline, and takes the piece out of the block. `progress` is called with the number of bytes that were taken,
    /// and with 0 while none are taken and the client is not to blame. Errors: the peer has given the stream up.
    pub async fn send(
        &self,
        block: &mut Block,
        piece: Piece,
        timer: &Timer,
        progress: impl Fn(usize),
    ) -> Result<io::Result<()>, Expired> {
        let Piece { count, is_last } = piece;
        debug_assert!(
            piece.count <= block.len(),
            "only what is in the block is sent"
        );
        let (mut left, role) = (count, self.connection.role());
        timer
            .bound(|cx| {
                let before = left;
                let sent = self.send_now(block, &mut left, is_last);
                let is_ours =
                    || role == Role::Server && self.connection.is_held_back(self.id.get());
                if left < before || is_ours() {
                    progress(before - left);
                }
                match sent {
                    Ok(()) if left > 0 => {
                        self.state.wait(cx);
                        Poll::Pending
                    }
                    sent => Poll::Ready(sent),
                }
            })
            .await
    }

    /// Sends as many of the first `left` bytes of `block` as the peer's windows allow now, and takes them from the
    /// front of the block and from `left`. `is_last`: the message ends with the first `left` bytes. Errors: the peer
    /// has given the stream up.
    pub fn send_now(&self, block: &mut Block, left: &mut usize, is_last: bool) -> io::Result<()> {
        if *left == 0 && (!is_last || self.finished.get()) {
            return Ok(());
        }
        debug_assert!(
            !self.finished.get(),
            "nothing is sent behind the end of a message"
        );
        let bytes = &block.filled()[..*left];
        self.connection.bound_output();
        let mut protocol = self.connection.protocol();
        let sent = protocol.send_body(self.id.get(), bytes, is_last, Micros::now());
        drop(protocol);
        let taken = *sent.as_ref().unwrap_or(&0);
        debug_assert!(taken <= *left, "no more is taken than was offered");
        block.advance(taken);
        *left -= taken;
        if sent.is_ok() && *left > 0 {
            self.connection.wake_sender();
            return Ok(());
        }
        self.note_sent(sent.is_ok(), is_last)
    }

    /// Ends palantir's message: a tunnel ends one direction so.
    pub fn end_sending(&self) {
        if !self.finished.get() {
            let mut protocol = self.connection.protocol();
            let sent = protocol.send_body(self.id.get(), &[], true, Micros::now());
            drop(protocol);
            let _ = self.note_sent(sent.is_ok(), true);
        }
    }

    fn note_sent(&self, succeeded: bool, is_last: bool) -> io::Result<()> {
        self.connection.wake_sender();
        if !succeeded {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.finished.set(is_last);
        self.finished_at.set(self.connection.millis());
        Ok(())
    }

    /// Notes that the whole answer of a backend was taken.
    pub fn note_answered(&self) {
        debug_assert_eq!(self.connection.role(), Role::Client);
        self.has_answer.set(true);
        self.finished_at.set(self.connection.millis());
    }

    /// The code of the reset that ends a dropped stream.
    fn closing_code(&self) -> ErrorCode {
        match self.connection.role() {
            // A client that has its answer is asked to stop sending its request (RFC 9113 section 8.1).
            Role::Server if self.finished.get() => ErrorCode::NO_ERROR,
            Role::Server => ErrorCode::INTERNAL_ERROR,
            // A head may say that no body follows, and the end of the stream comes by itself a moment later.
            Role::Client if self.finished.get() && self.has_answer.get() => ErrorCode::NO_ERROR,
            Role::Client => ErrorCode::CANCEL,
        }
    }
}

impl Drop for MultiplexStream {
    fn drop(&mut self) {
        if self.id.get() != 0 {
            let unread = self.state.body.borrow().len() + self.taken.get();
            let (code, finished_at) = (self.closing_code(), self.finished_at.get());
            self.connection
                .forget(self.id.get(), unread, code, finished_at);
        }
    }
}
