//! An HTTP/2 connection at work: what the socket brings goes to the streams, and what they have to say goes out in
//! one send for all of them. Read on in `carry.rs` (bytes both ways), `events.rs` (what they say), `watch.rs` (what is
//! due) and `stream.rs` (one stream).

mod drive;
mod events;
mod stream;
mod watch;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use super::state::{Gone, StreamInput};
use crate::base::ids::BackendId;
use crate::base::limits;
use crate::base::memory::{self, Level};
use crate::base::time::Micros;
use crate::http::h2::{
    self, ById, ConnectionError, ErrorCode, Head, LocalSettings, Role, StreamId, StreamRequest,
    to_h2,
};
use crate::net::{Blocks, Timer, Timers};
use crate::worker::bulk_turns::BulkTurns;
use crate::worker::memory::Memory;
use crate::worker::min_rate::MinRate;

pub use stream::MultiplexStream;

/// A connection that streams share.
pub struct MultiplexConnection {
    role: Role,
    protocol: RefCell<h2::H2Connection>,
    streams: RefCell<ById<Rc<StreamInput>>>,
    free_heads: RefCell<Vec<Head>>,
    /// Streams that wait until there is a socket, or until the peer's first SETTINGS have come.
    unsettled: RefCell<Vec<Rc<StreamInput>>>,
    /// Streams that were answered before their request had ended, or whose answer was whole before its stream had
    /// ended, each with the core's millisecond in which it is reset.
    answered_early: RefCell<VecDeque<(StreamId, u64)>>,
    /// The task that sends, while there is nothing to send.
    sender: RefCell<Option<Waker>>,
    /// Whether there is a socket. Requests may choose a connection to a backend before there is one.
    connected: Cell<bool>,
    timers: Rc<Timers>,
    /// Makes the task that receives look at what is due.
    timer: Timer,
    /// Whether nothing more is received.
    deaf: Cell<bool>,
    /// When a stream last began, was open or ended, in the core's milliseconds.
    busy_at: Cell<u64>,
    /// The backend that it was made to.
    backend: Cell<Option<BackendId>>,
    /// Whether there was no stream since the owner was told so.
    is_at_rest: Cell<bool>,
    /// Since when nothing has come from a backend that owes something, in the core's milliseconds. `None`: it owes
    /// nothing, or has just shown by an answer to PING that it lives.
    silent_since: Cell<Option<u64>>,
    /// The core's millisecond in which bytes last came.
    heard_at: Cell<u64>,
    /// The number of bytes that have come on the connection.
    heard_bytes: Cell<u64>,
    /// The core's millisecond in which the socket last took bytes of a send that is under way; `None`: no send is.
    sending_since: Cell<Option<u64>>,
    /// When a backend that may be gone was asked for a sign of life, in the core's milliseconds.
    suspected_at: Cell<Option<u64>>,
}

/// The terms on which a connection works, set by its owner.
pub struct Terms<'a> {
    /// The free blocks of the core.
    pub blocks: &'a Blocks,
    /// The room for bulk transfers in each turn of the core.
    pub bulk_turns: &'a BulkTurns,
    /// The use of memory of the core.
    pub memory: &'a Memory,
    /// Takes a stream that the peer opened.
    pub begin: &'a dyn Fn(MultiplexStream),
    /// Told how many streams the peer was refused for want of memory.
    pub refused: &'a dyn Fn(u32),
    /// Called when there has been no stream for a while.
    pub rest: &'a dyn Fn(),
    /// Whether the connection should come to its end.
    pub is_unwanted: &'a dyn Fn() -> bool,
    /// Whether a peer that ends its sending side gets the answers to its complete requests.
    pub serves_half_closed: bool,
    /// How long the connection may be without a stream, and how long nothing may move on it while something is to be
    /// sent.
    pub idle: Duration,
    /// How long a head may take from its first byte to its last.
    pub head: Duration,
    /// How long the peer may take nothing from the socket, whatever else moves.
    pub stall: Duration,
    /// How fast the peer must take the bytes that are sent.
    pub rate: &'a MinRate,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides have ended the connection as agreed, or the peer is gone.
    Orderly,
    /// The peer takes nothing of the bytes that are sent, or too few of them.
    Stuck,
    /// The peer broke a rule and was told.
    Broken(ConnectionError),
}

impl MultiplexConnection {
    /// A connection that has just been opened, or is about to be.
    pub fn new(
        role: Role,
        settings: LocalSettings,
        timers: &Rc<Timers>,
    ) -> Rc<MultiplexConnection> {
        Rc::new(MultiplexConnection {
            role,
            protocol: RefCell::new(h2::H2Connection::new(role, settings, Micros::now())),
            streams: RefCell::default(),
            free_heads: RefCell::default(),
            unsettled: RefCell::default(),
            answered_early: RefCell::default(),
            sender: RefCell::default(),
            connected: Cell::default(),
            timers: timers.clone(),
            timer: Timer::new(timers),
            deaf: Cell::default(),
            busy_at: Cell::default(),
            backend: Cell::default(),
            is_at_rest: Cell::default(),
            silent_since: Cell::default(),
            heard_at: Cell::default(),
            heard_bytes: Cell::default(),
            sending_since: Cell::default(),
            suspected_at: Cell::default(),
        })
    }

    /// The core's millisecond.
    pub(super) fn millis(&self) -> u64 {
        self.timers.millis()
    }

    /// The side of the connection that palantir is.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// The state of the protocol.
    pub(super) fn protocol(&self) -> RefMut<'_, h2::H2Connection> {
        self.protocol.borrow_mut()
    }

    /// The number of bytes that have come on the connection.
    pub(super) fn heard_bytes(&self) -> u64 {
        self.heard_bytes.get()
    }

    /// Whether there is a socket.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.get()
    }

    /// Notes which backend the connection was made to.
    pub fn note_backend(&self, id: BackendId) {
        self.backend.set(Some(id));
    }

    /// The backend that the connection was made to.
    pub(super) fn backend(&self) -> Option<BackendId> {
        self.backend.get()
    }

    /// Whether a request to the backend may choose this connection.
    pub fn has_room(&self) -> bool {
        let (protocol, waiting) = (self.protocol.borrow(), self.waiting_streams());
        !self.deaf.get()
            && protocol.open_streams() + waiting < limits::H2_UPSTREAM_STREAMS
            && protocol.free_streams() > waiting
    }

    /// Streams that are open.
    pub fn open_streams(&self) -> usize {
        self.protocol.borrow().open_streams()
    }

    /// Whether a new request goes elsewhere if it can: the backend is asked for a sign of life and has not given one
    /// yet, or the bodies of other requests, which may be other clients', would have to be sent before the new one's.
    pub fn is_second_choice(&self) -> bool {
        self.is_suspect() || self.protocol.borrow().is_congested()
    }

    /// A stream to send a request on.
    pub fn stream(self: &Rc<Self>) -> MultiplexStream {
        MultiplexStream::new(self.clone(), 0, Rc::default())
    }

    /// Whether the backend takes an extended CONNECT (RFC 8441 section 3). `None`: the backend's SETTINGS have not
    /// come; the stream is woken when they have. Errors: they will not come.
    pub(super) fn takes_extended_connect(
        &self,
        state: &Rc<StreamInput>,
    ) -> Result<Option<bool>, Gone> {
        let protocol = self.protocol.borrow();
        if let Some(gone) = state.gone.get() {
            return Err(gone);
        }
        if self.deaf.get() {
            return Err(Gone::Unprocessed);
        }
        if protocol.has_peer_settings() {
            return Ok(Some(protocol.takes_extended_connect()));
        }
        self.note_unsettled(state);
        Ok(None)
    }

    /// Whether the backend has said that it takes an extended CONNECT.
    pub fn takes_websockets(&self) -> bool {
        self.protocol.borrow().takes_extended_connect()
    }

    /// Whether the connection is still being made. If so, the stream is woken when the connection is made. Errors: it
    /// will not be made.
    pub(super) fn awaits_socket(&self, state: &Rc<StreamInput>) -> Result<bool, Gone> {
        if let Some(gone) = state.gone.get() {
            return Err(gone);
        }
        if self.deaf.get() {
            return Err(Gone::Unprocessed);
        }
        if !self.is_connected() {
            self.note_unsettled(state);
        }
        Ok(!self.is_connected())
    }

    fn note_unsettled(&self, state: &Rc<StreamInput>) {
        self.forget_unsettled(state);
        self.unsettled.borrow_mut().push(state.clone());
    }

    /// Takes this stream, and streams that no task waits for any more, off the list of waiting streams.
    fn forget_unsettled(&self, state: &Rc<StreamInput>) {
        let mut unsettled = self.unsettled.borrow_mut();
        unsettled.retain(|known| Rc::strong_count(known) > 1 && !Rc::ptr_eq(known, state));
    }

    /// Whether requests whose streams are not open yet have chosen this connection.
    fn is_awaited(&self) -> bool {
        self.waiting_streams() > 0
    }

    /// Streams that wait to be opened.
    fn waiting_streams(&self) -> usize {
        let unsettled = self.unsettled.borrow();
        let waits = |state: &&Rc<StreamInput>| Rc::strong_count(state) > 1;
        unsettled.iter().filter(waits).count()
    }

    /// Opens a stream with a request. `None`: the connection takes no further stream.
    pub(super) fn open(
        &self,
        request: &StreamRequest<'_>,
        fields: to_h2::Fields<'_>,
        is_last: bool,
        state: &Rc<StreamInput>,
    ) -> Option<StreamId> {
        if self.deaf.get() {
            return None;
        }
        debug_assert_eq!(self.role, Role::Client, "a server opens no stream");
        let is_first = self.open_streams() == 0;
        let id = self.protocol().open(request, fields, is_last)?;
        self.forget_unsettled(state);
        debug_assert!(id != 0 && !self.streams.borrow().contains_key(&id));
        self.streams.borrow_mut().insert(id, state.clone());
        self.note_opened(is_first);
        Some(id)
    }

    /// Whether a stream waits for its turn or for the socket, and not for a window of the peer's.
    pub(super) fn is_held_back(&self, id: StreamId) -> bool {
        self.protocol.borrow().is_held_back(id)
    }

    /// Lets little wait in the output while memory is tight.
    pub(super) fn bound_output(&self) {
        self.protocol().bound_output(match memory::level() {
            Level::Ample => limits::H2_OUTPUT_BYTES,
            _ => limits::H2_TURN_BYTES,
        });
    }

    /// Gives back room for bytes that a stream's exchange has taken and passed on; `wants_more`: it waits for others.
    pub(super) fn release(&self, id: StreamId, count: usize, wants_more: bool) {
        if self.deaf.get() {
            return;
        }
        let mut protocol = self.protocol();
        protocol.release(id, count as u32);
        if wants_more && memory::level() < Level::Tight {
            protocol.want_more(id);
        }
        if protocol.has_output() {
            self.wake_sender();
        }
    }

    /// Forgets a stream that nobody works on any more, with `unread` bytes of its body.
    ///
    /// A client that got its answer in the core's millisecond `answered_at` is given some time to read the answer and
    /// to stop sending by itself: some clients lose an answer when a reset follows it at once. A backend whose answer
    /// was whole in that millisecond is given as much time to end the stream by itself.
    pub(super) fn forget(&self, id: StreamId, unread: usize, code: ErrorCode, answered_at: u64) {
        self.streams.borrow_mut().remove(&id);
        if self.deaf.get() {
            return;
        }
        let now = self.timers.millis();
        self.busy_at.set(now);
        let mut protocol = self.protocol();
        protocol.release_connection(unread as u32);
        match code {
            ErrorCode::NO_ERROR if protocol.is_open(id) => {
                let due = answered_at + limits::LINGER_MILLIS;
                if due <= now {
                    protocol.reset(id, self.late_code());
                } else {
                    let mut early = self.answered_early.borrow_mut();
                    while early
                        .pop_front_if(|(id, _)| !protocol.is_open(*id))
                        .is_some()
                    {}
                    early.push_back((id, due));
                }
            }
            code => protocol.reset(id, code),
        }
        if protocol.has_output() || protocol.is_done() {
            self.wake_sender();
        }
    }

    /// The code of the reset of a stream that has lingered for long enough.
    pub(super) fn late_code(&self) -> ErrorCode {
        match self.role {
            // A client that has its answer may stop sending (RFC 9113 section 8.1).
            Role::Server => ErrorCode::NO_ERROR,
            Role::Client => ErrorCode::CANCEL,
        }
    }

    /// Takes a head back for another stream.
    pub(super) fn give_head(&self, head: Head) {
        let mut free = self.free_heads.borrow_mut();
        if free.len() < limits::H2_FREE_HEADS && memory::level() < Level::Tight {
            free.push(head);
        }
    }

    /// Lets the sending task look around.
    pub(super) fn wake_sender(&self) {
        if let Some(sender) = self.sender.borrow_mut().take() {
            sender.wake();
        }
    }

    /// Lets an established connection end if it has no stream, and no stream waits to be opened. The result says
    /// whether the call has made the connection end.
    pub fn end_if_idle(&self) -> bool {
        let is_idle = self.open_streams() == 0 && !self.is_awaited();
        let is_over = self.deaf.get() || self.protocol.borrow().is_ending();
        if !self.is_connected() || !is_idle || is_over {
            return false;
        }
        self.protocol().drain(Micros::now());
        self.timer
            .set(Duration::from_millis(limits::H2_CHECK_MILLIS)); // A silent peer is not waited for long.
        self.wake_sender();
        true
    }

    /// Ends all streams, which learn why, and takes no others. Whatever waits for room to send on one of them is
    /// refused.
    pub fn lose(&self, gone: Gone) {
        self.deaf.set(true);
        #[cfg(test)]
        if crate::simulated::is_planted(crate::simulated::Fault::OutlivesConnection) {
            return self
                .streams
                .borrow()
                .values()
                .for_each(|state| state.wake());
        }
        self.protocol().abandon();
        self.answered_early.take();
        let streams = self.streams.take();
        streams.values().for_each(|state| state.lose(gone));
        let unsettled = self.unsettled.take();
        unsettled.iter().for_each(|state| state.lose(gone));
        self.wake_sender();
    }
}
