//! An HTTP/2 connection at work: what the socket brings goes to the streams, and what they have to say goes out in one
//! send for all of them.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::state::{Gone, State};
use super::stream::Stream;
use crate::base::limits;
use crate::base::time::Micros;
use crate::http::h2::{
    self, ById, ConnectionError, ErrorCode, Event, Head, LocalSettings, Request, Role, StreamId,
    raise,
};
use crate::net::{Block, Blocks, Socket, Timer, Timers};

/// A connection that streams share.
pub struct Connection {
    role: Role,
    protocol: RefCell<h2::Connection>,
    streams: RefCell<ById<Rc<State>>>,
    free_heads: RefCell<Vec<Head>>,
    /// Streams that were answered before their request had ended, each with the core's millisecond in which it is reset.
    answered_early: RefCell<VecDeque<(StreamId, u64)>>,
    /// The task that sends, while there is nothing to send.
    sender: RefCell<Option<Waker>>,
    /// Whether there is a socket: towards a backend, streams are opened before.
    connected: Cell<bool>,
    /// Whether nothing more is received.
    deaf: Cell<bool>,
    /// When a stream was last open, in the core's milliseconds.
    busy_at: Cell<u64>,
    /// The core's milliseconds when bytes came last.
    now: Cell<u64>,
}

/// What a connection is told by its owner.
pub struct Terms<'a> {
    pub timers: &'a Rc<Timers>,
    pub blocks: &'a Blocks,
    /// Takes a stream that the peer opened.
    pub begin: &'a dyn Fn(Stream),
    /// Called when there has been no stream for a while.
    pub rest: &'a dyn Fn(),
    /// Whether the connection should come to its end.
    pub is_unwanted: &'a dyn Fn() -> bool,
    /// How long it may be without a stream, and how long the peer may take none of what is sent.
    pub idle: Duration,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As agreed, or the peer is gone.
    Orderly,
    /// The peer broke a rule and was told.
    Broken(ConnectionError),
}

impl Connection {
    /// A connection that has just been opened, or is about to be.
    pub fn new(role: Role, settings: LocalSettings, now: Micros) -> Rc<Connection> {
        Rc::new(Connection {
            role,
            protocol: RefCell::new(h2::Connection::new(role, settings, now)),
            streams: RefCell::default(),
            free_heads: RefCell::default(),
            answered_early: RefCell::default(),
            sender: RefCell::default(),
            connected: Cell::default(),
            deaf: Cell::default(),
            busy_at: Cell::default(),
            now: Cell::default(),
        })
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn protocol(&self) -> RefMut<'_, h2::Connection> {
        self.protocol.borrow_mut()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.get()
    }

    /// Streams that may be opened now, towards a backend.
    pub fn free_streams(&self) -> usize {
        match self.deaf.get() {
            true => 0,
            false => self.protocol.borrow().free_streams(),
        }
    }

    /// Streams that are open.
    pub fn open_streams(&self) -> usize {
        self.protocol.borrow().open_streams()
    }

    /// A stream to send a request on.
    pub fn stream(self: &Rc<Self>) -> Stream {
        Stream::new(self.clone(), 0, Rc::default())
    }

    pub(super) fn open(
        &self,
        request: &Request<'_>,
        fields: raise::Fields<'_>,
        is_last: bool,
        state: &Rc<State>,
    ) -> Option<StreamId> {
        if self.deaf.get() {
            return None;
        }
        let id = self.protocol().open(request, fields, is_last)?;
        self.streams.borrow_mut().insert(id, state.clone());
        Some(id)
    }

    /// Gives back room for bytes that a stream's exchange has taken.
    pub(super) fn release(&self, id: StreamId, count: usize) {
        let mut protocol = self.protocol();
        protocol.release(id, count as u32);
        if protocol.has_output() {
            self.wake_sender();
        }
    }

    /// Forgets a stream that nobody works on any more, with `unread` bytes of its body.
    ///
    /// A client that has its answer is given some time to read it and to stop sending by itself: some take a reset that
    /// comes right behind an answer for its loss.
    pub(super) fn forget(&self, id: StreamId, unread: usize, code: ErrorCode) {
        self.streams.borrow_mut().remove(&id);
        let mut protocol = self.protocol();
        protocol.release_connection(unread as u32);
        match code {
            ErrorCode::NO_ERROR if protocol.is_open(id) => {
                let due = self.now.get() + limits::LINGER_MILLIS;
                self.answered_early.borrow_mut().push_back((id, due));
            }
            code => protocol.reset(id, code),
        }
        if protocol.has_output() || protocol.is_done() {
            self.wake_sender();
        }
    }

    pub(super) fn give_head(&self, head: Head) {
        let mut free = self.free_heads.borrow_mut();
        if free.len() < limits::H2_FREE_HEADS {
            free.push(head);
        }
    }

    /// Lets the sending task look around.
    pub(super) fn wake_sender(&self) {
        if let Some(sender) = self.sender.borrow_mut().take() {
            sender.wake();
        }
    }

    /// Ends all streams, which learn why, and takes no others.
    pub fn lose(&self, gone: Gone) {
        self.deaf.set(true);
        let streams = self.streams.take();
        streams.values().for_each(|state| state.lose(gone));
        self.wake_sender();
    }

    /// Moves bytes both ways until the connection has ended. `received` came already.
    pub async fn carry(
        self: &Rc<Self>,
        socket: &Socket,
        received: Block,
        terms: &Terms<'_>,
    ) -> End {
        self.busy_at.set(terms.timers.millis());
        self.connected.set(true);
        self.streams
            .borrow()
            .values()
            .for_each(|state| state.wake());
        let mut receiving = pin!(self.receive_all(socket, received, terms));
        let mut sending = pin!(self.send_all(socket, terms));
        let mut end = End::Orderly;
        poll_fn(|cx| {
            if !self.deaf.get()
                && let Poll::Ready(outcome) = receiving.as_mut().poll(cx)
            {
                end = outcome;
                self.lose(Gone::Lost);
            }
            sending.as_mut().poll(cx)
        })
        .await;
        self.lose(Gone::Lost);
        end
    }

    /// Receives until the peer ends, breaks a rule, or is to be left.
    async fn receive_all(
        self: &Rc<Self>,
        socket: &Socket,
        mut received: Block,
        terms: &Terms<'_>,
    ) -> End {
        let timer = Timer::new(terms.timers);
        let mut checked_at = terms.timers.millis();
        loop {
            let taken = self.take_in(received.filled(), terms);
            terms.blocks.give(received);
            if let Err(error) = taken {
                return End::Broken(error);
            }
            timer.set(self.patience(terms));
            received = match self.more(socket, &timer, terms).await {
                Some(block) => block,
                None => return End::Orderly,
            };
            let now = terms.timers.millis();
            if now.saturating_sub(checked_at) >= limits::H2_CHECK_MILLIS || received.is_empty() {
                checked_at = now;
                if let Err(error) = self.check(now, terms) {
                    return End::Broken(error);
                }
            }
        }
    }

    /// How long nothing needs to be looked at if nothing comes.
    fn patience(&self, terms: &Terms<'_>) -> Duration {
        let protocol = self.protocol.borrow();
        if protocol.open_streams() > 0 || protocol.deadline().is_some() {
            return Duration::from_millis(limits::H2_CHECK_MILLIS);
        }
        let idle = terms.timers.millis().saturating_sub(self.busy_at.get());
        terms.idle.saturating_sub(Duration::from_millis(idle))
    }

    /// Waits for bytes; an empty block when it is time to look around, `None` when the peer has ended.
    async fn more(&self, socket: &Socket, timer: &Timer, terms: &Terms<'_>) -> Option<Block> {
        socket.watch();
        let waited = timer.bound(|cx| match self.poll_more(socket, terms, cx) {
            Poll::Pending if (terms.is_unwanted)() && !self.protocol.borrow().is_ending() => {
                Poll::Ready(Some(Block::default()))
            }
            polled => polled,
        });
        waited.await.unwrap_or_else(|_| Some(Block::default()))
    }

    fn poll_more(
        &self,
        socket: &Socket,
        terms: &Terms<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Block>> {
        loop {
            std::task::ready!(socket.poll_readable(cx));
            let mut block = terms.blocks.take();
            match socket.receive(&mut block, usize::MAX) {
                Ok(0) => return Poll::Ready(None),
                Ok(_) => return Poll::Ready(Some(block)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    terms.blocks.give(block);
                    socket.watch();
                }
                Err(_) => return Poll::Ready(None),
            }
        }
    }

    /// Does what is due: once in a while, and when the connection is unwanted.
    fn check(&self, now: u64, terms: &Terms<'_>) -> Result<(), ConnectionError> {
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

    /// Takes all of `bytes` in and tells the streams. Errors: the connection has to end.
    fn take_in(self: &Rc<Self>, bytes: &[u8], terms: &Terms<'_>) -> Result<(), ConnectionError> {
        let now = Micros::now();
        self.now.set(terms.timers.millis());
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut protocol = self.protocol();
            let (used, event) = protocol.receive(rest, now)?;
            rest = &rest[used..];
            let unwanted = event.map_or(0, |event| self.tell(event, terms));
            if unwanted > 0 {
                protocol.release_connection(unwanted);
            }
        }
        self.wake_waiting();
        self.wake_sender();
        Ok(())
    }

    /// Passes an event on to its stream. Gives the number of bytes of a body that nobody wants.
    fn tell(self: &Rc<Self>, event: Event<'_>, terms: &Terms<'_>) -> u32 {
        match event {
            Event::Head { stream, head, end } => {
                let state = self.state_of(stream, terms);
                let mut own = self.free_heads.borrow_mut().pop().unwrap_or_default();
                std::mem::swap(&mut own, head);
                state.heads.borrow_mut().push_back((own, end));
                state.ended.set(end);
                state.wake();
            }
            Event::Refused {
                stream, refusal, ..
            } => self.state_of(stream, terms).lose(Gone::Malformed(refusal)),
            Event::Body { stream, bytes, end } => {
                let streams = self.streams.borrow();
                let Some(state) = streams.get(&stream) else {
                    return bytes.len() as u32;
                };
                let mut body = state.body.borrow_mut();
                if body.capacity() == 0 && !bytes.is_empty() {
                    *body = terms.blocks.take();
                }
                body.extend(bytes);
                state.ended.set(end);
                state.wake();
            }
            Event::Trailers { stream, lines } => {
                if let Some(state) = self.streams.borrow().get(&stream) {
                    state.trailers.replace(lines.to_vec());
                    state.ended.set(true);
                    state.wake();
                }
            }
            Event::Reset { stream, code, .. } => {
                if let Some(state) = self.streams.borrow_mut().remove(&stream) {
                    let unprocessed =
                        self.role == Role::Client && code == ErrorCode::REFUSED_STREAM;
                    state.lose(match unprocessed {
                        true => Gone::Unprocessed,
                        false => Gone::Reset(code),
                    });
                }
            }
            Event::GoAway { last, .. } => self.lose_beyond(last),
            Event::Settings | Event::Pong => {}
        }
        0
    }

    /// The state of a stream, which is begun if the peer has just opened it.
    fn state_of(self: &Rc<Self>, id: StreamId, terms: &Terms<'_>) -> Rc<State> {
        if let Some(state) = self.streams.borrow().get(&id) {
            return state.clone();
        }
        let state = Rc::<State>::default();
        if self.role == Role::Server {
            self.streams.borrow_mut().insert(id, state.clone());
            (terms.begin)(Stream::new(self.clone(), id, state.clone()));
        }
        state
    }

    fn lose_beyond(&self, last: StreamId) {
        if self.role == Role::Client {
            let beyond = |id: &StreamId, _: &mut Rc<State>| *id > last;
            for (_, state) in self.streams.borrow_mut().extract_if(beyond) {
                state.lose(Gone::Unprocessed);
            }
        }
    }

    /// Wakes the streams whose turn it is to send what they could not send before: as many as may fill the output.
    fn wake_waiting(&self) {
        let mut protocol = self.protocol();
        let streams = self.streams.borrow();
        for _ in 0..limits::H2_OUTPUT_BYTES / limits::H2_TURN_BYTES {
            match protocol.next_to_send() {
                Some(id) => streams.get(&id).into_iter().for_each(|state| state.wake()),
                None => return,
            }
        }
    }

    /// Sends what there is to send until the connection is over.
    async fn send_all(&self, socket: &Socket, terms: &Terms<'_>) {
        let timer = Timer::new(terms.timers);
        let mut block = Block::default();
        while poll_fn(|cx| self.poll_output(cx)).await {
            let spare = std::mem::take(block.vec());
            *block.vec() = self.protocol().take_output(spare);
            // The last words are for a peer that listens.
            let patience = match self.deaf.get() {
                true => Duration::from_millis(limits::LINGER_MILLIS),
                false => terms.idle,
            };
            timer.set(patience);
            let progress = || timer.set(patience);
            let count = block.len();
            match socket.send(&mut block, count, &timer, progress).await {
                Ok(Ok(())) => block.clear(),
                _ => return,
            }
            if self.open_streams() == 0 {
                block = Block::default();
            }
            self.wake_waiting();
        }
    }

    /// Ready when there is something to send, with false when there is not and never will be.
    fn poll_output(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let protocol = self.protocol.borrow();
        if protocol.has_output() {
            return Poll::Ready(true);
        }
        if self.deaf.get() || protocol.is_done() {
            return Poll::Ready(false);
        }
        self.sender.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}
