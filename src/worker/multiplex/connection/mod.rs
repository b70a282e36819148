//! An HTTP/2 connection at work: received bytes go to the streams, and the output of all streams goes out in one send.
//! `drive.rs` moves bytes both ways, `events.rs` distributes what was received, `watch.rs` acts on time, and
//! `stream.rs` is one stream.

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
    /// Streams that wait for the socket, or for the peer's first SETTINGS.
    unsettled: RefCell<Vec<Rc<StreamInput>>>,
    /// Streams that were answered before their requests had ended, or whose answer was whole before they had ended,
    /// each with the core's millisecond in which the stream is reset.
    answered_early: RefCell<VecDeque<(StreamId, u64)>>,
    /// Wakes the task that sends, while that task has no output.
    sender: RefCell<Option<Waker>>,
    /// Whether there is a socket. Requests may choose a connection to a backend before there is one.
    connected: Cell<bool>,
    timers: Rc<Timers>,
    /// Wakes the task that receives for the next check.
    timer: Timer,
    /// Whether received bytes are being processed.
    takes_in: Cell<bool>,
    /// Whether receiving has ended.
    deaf: Cell<bool>,
    /// The core's millisecond in which a stream last began, was open or ended.
    busy_at: Cell<u64>,
    /// The backend that the connection was made to; `None`: the connection is not made, or its peer is a client.
    backend: Cell<Option<BackendId>>,
    /// Whether no stream has been open since the owner was told that there is none.
    is_at_rest: Cell<bool>,
    /// The core's millisecond since which nothing has come from a backend that owes an answer. `None`: the backend owes
    /// none, or has just answered a PING.
    silent_since: Cell<Option<u64>>,
    /// The core's millisecond in which bytes last came.
    heard_at: Cell<u64>,
    /// The number of bytes that have come on the connection.
    heard_bytes: Cell<u64>,
    /// The core's millisecond in which the socket last took bytes of a send that is under way; `None`: no send is.
    sending_since: Cell<Option<u64>>,
    /// The core's millisecond in which a backend that may be gone was sent a PING; `None`: no PING waits for its
    /// answer.
    suspected_at: Cell<Option<u64>>,
}

/// The conditions under which a connection works, set by its owner.
pub struct Terms<'a> {
    /// The free blocks of the core.
    pub blocks: &'a Blocks,
    /// The budget for bulk transfers in each turn of the core.
    pub bulk_turns: &'a BulkTurns,
    /// The use of memory of the core.
    pub memory: &'a Memory,
    /// Takes a stream that the peer opened.
    pub begin: &'a dyn Fn(MultiplexStream),
    /// Called with the number of streams that were refused for want of memory.
    pub refused: &'a dyn Fn(u32),
    /// Called when no stream has been open since the last check.
    pub rest: &'a dyn Fn(),
    /// Whether the connection should end soon.
    pub is_unwanted: &'a dyn Fn() -> bool,
    /// Whether a peer that ends its sending side gets the answers to its complete requests.
    pub serves_half_closed: bool,
    /// How long the connection may be without a stream, and how long no byte may move on it while output waits.
    pub idle: Duration,
    /// How long a head may take from its first byte to its last.
    pub head: Duration,
    /// How long the peer may take no bytes from the socket, whether or not it sends any.
    pub stall: Duration,
    /// How fast the peer must take the bytes that are sent.
    pub rate: &'a MinRate,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides have ended the connection in order, or the peer is gone.
    Orderly,
    /// The peer takes none, or too few, of the bytes that are sent.
    Stuck,
    /// The peer broke a rule and was told.
    Broken(ConnectionError),
}

impl MultiplexConnection {
    /// A connection that was just opened, or is about to be.
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
            takes_in: Cell::default(),
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

    /// The current millisecond of the core.
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

    /// Whether the connection is made.
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

    /// Whether another request may choose this connection.
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

    /// Whether a new request should prefer another connection: the backend has not answered a PING yet, or the bodies
    /// of other requests would have to be sent before the new one's.
    pub fn is_second_choice(&self) -> bool {
        self.is_suspect() || self.protocol.borrow().is_congested()
    }

    /// A stream to send a request on.
    pub fn stream(self: &Rc<Self>) -> MultiplexStream {
        MultiplexStream::new(self.clone(), 0, Rc::default())
    }

    /// Whether the backend takes an extended CONNECT (RFC 8441 section 3). `None`: the backend's SETTINGS have not
    /// come; the stream is woken when they have. Errors: the SETTINGS will not come.
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

    /// Whether the backend has announced that it takes an extended CONNECT (RFC 8441 section 3).
    pub fn takes_websockets(&self) -> bool {
        self.protocol.borrow().takes_extended_connect()
    }

    /// Whether the connection is still being made. If so, the stream is woken when the connection is made. Errors: the
    /// connection will not be made.
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

    /// Takes this stream, and streams whose tasks have ended, off the list of waiting streams.
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

    /// Whether a stream waits for its turn or for the socket, and not for a window of the peer.
    pub(super) fn is_held_back(&self, id: StreamId) -> bool {
        self.protocol.borrow().is_held_back(id)
    }

    /// Bounds the output to a small size while memory is tight.
    pub(super) fn bound_output(&self) {
        self.protocol().bound_output(match memory::level() {
            Level::Ample => limits::H2_OUTPUT_BYTES,
            _ => limits::H2_TURN_BYTES,
        });
    }

    /// Opens the peer's windows by the number of bytes that a stream's exchange has passed on. `wants_more`: the
    /// exchange waits for more bytes.
    pub(super) fn release(&self, id: StreamId, count: usize, wants_more: bool) {
        debug_assert!(id != 0, "only an open stream has received bytes");
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

    /// Forgets a stream whose exchange has ended, with `unread` bytes of its body.
    ///
    /// A client that got its answer in the core's millisecond `answered_at` has some time to read the answer and to
    /// stop sending by itself: some clients lose an answer when a reset follows at once. A backend whose answer was
    /// whole in that millisecond has as much time to end the stream by itself.
    pub(super) fn forget(&self, id: StreamId, unread: usize, code: ErrorCode, answered_at: u64) {
        debug_assert!(id != 0, "only an open stream is forgotten");
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
            // A client that has its answer is asked to stop sending its request (RFC 9113 section 8.1).
            Role::Server => ErrorCode::NO_ERROR,
            Role::Client => ErrorCode::CANCEL,
        }
    }

    /// Keeps the memory of a head for another stream.
    pub(super) fn give_head(&self, head: Head) {
        let mut free = self.free_heads.borrow_mut();
        if free.len() < limits::H2_FREE_HEADS && memory::level() < Level::Tight {
            free.push(head);
        }
    }

    /// Wakes the sending task.
    pub(super) fn wake_sender(&self) {
        if let Some(sender) = self.sender.borrow_mut().take() {
            sender.wake();
        }
    }

    /// Begins the end of an established connection without a stream that no stream waits for. The result says whether
    /// this call has begun the end.
    pub fn end_if_idle(&self) -> bool {
        let is_idle = self.open_streams() == 0 && !self.is_awaited();
        let is_over = self.deaf.get() || self.protocol.borrow().is_ending();
        if !self.is_connected() || !is_idle || is_over {
            return false;
        }
        self.protocol().drain(Micros::now());
        self.timer
            // The connection does not wait long for a silent peer.
            .set(Duration::from_millis(limits::H2_CHECK_MILLIS));
        self.wake_sender();
        true
    }

    /// Ends all streams, which get the reason `gone`, and refuses further streams and sends.
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
