//! Where the proxy connects to, and where clients connect to the proxy.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::end::End;
use super::flow::Ending;
use super::kernel::{ConnId, Happening, Kernel, Side, State, What};

/// How a backend's address answers an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Accepts,
    Refuses,
    /// No answer comes.
    Silent,
}

/// A backend's address.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub manner: Manner,
    /// Attempts to connect that were refused.
    pub refused: u64,
}

/// The proxy's attempt to connect.
pub struct Attempt {
    pub addr: SocketAddr,
    outcome: Option<Result<ConnId, io::ErrorKind>>,
    waker: Option<Waker>,
    is_given_up: bool,
    is_over: bool,
}

/// A socket that the proxy listens on.
#[derive(Default)]
pub struct Listening {
    backlog: VecDeque<(ConnId, SocketAddr)>,
    wakers: Vec<Waker>,
    /// When the task is woken next to see whether its switch is off.
    looks_at: u64,
}

impl State {
    pub(super) fn connect_now(&mut self, attempt: usize) {
        let addr = self.attempts[attempt].addr;
        if self.attempts[attempt].is_given_up {
            return;
        }
        let manner = self
            .places
            .get(&addr)
            .map_or(Manner::Refuses, |place| place.manner);
        self.trace(|| format!("an attempt to connect to {addr}, which {manner:?}"));
        let outcome = match manner {
            Manner::Silent => return,
            Manner::Refuses => {
                if let Some(place) = self.places.get_mut(&addr) {
                    place.refused += 1;
                }
                Err(io::ErrorKind::ConnectionRefused)
            }
            Manner::Accepts => {
                let conn = self.new_conn(Some(addr));
                self.happenings.push_back(Happening::Connected(conn));
                Ok(conn)
            }
        };
        let attempt = &mut self.attempts[attempt];
        attempt.outcome = Some(outcome);
        if let Some(waker) = attempt.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn knock_now(&mut self, listener: RawFd, conn: ConnId, from: SocketAddr) {
        match self.listening.get_mut(&listener) {
            Some(listening) => {
                listening.backlog.push_back((conn, from));
                listening.wakers.drain(..).for_each(Waker::wake);
            }
            None => {
                self.conns[conn].is_proxy_open = false;
                self.refuse(conn, Side::Proxy);
            }
        }
    }
}

impl Kernel {
    /// Sets how a backend's address answers.
    pub fn set_manner(&self, addr: SocketAddr, manner: Manner) {
        let state = &mut *self.state.borrow_mut();
        let place = state
            .places
            .entry(addr)
            .or_insert(Place { manner, refused: 0 });
        place.manner = manner;
    }

    /// Attempts to connect to a backend's address that were refused.
    pub fn refused(&self, addr: SocketAddr) -> u64 {
        let state = self.state.borrow();
        state.places.get(&addr).map_or(0, |place| place.refused)
    }

    /// Whether the proxy waits for a connection to this address.
    pub fn is_connecting_to(&self, addr: SocketAddr) -> bool {
        let state = self.state.borrow();
        let mut attempts = state.attempts.iter();
        attempts.any(|attempt| attempt.addr == addr && !attempt.is_over)
    }

    /// Takes note of a socket that the proxy is going to listen on.
    pub fn listen(&self, listener: RawFd) {
        let state = &mut *self.state.borrow_mut();
        state.listening.insert(listener, Listening::default());
    }

    /// Has a client connect to the proxy.
    pub fn knock(&self, listener: RawFd, from: SocketAddr) -> ConnId {
        let state = &mut *self.state.borrow_mut();
        let conn = state.new_conn(None);
        state.soon(What::Knock(listener, conn, from));
        conn
    }

    /// The next client at a listener. The task is woken now and then without one, so that it sees its gate close.
    pub fn poll_accept(
        self: &Rc<Self>,
        listener: RawFd,
        cx: &mut Context<'_>,
    ) -> Poll<(End, SocketAddr)> {
        let state = &mut *self.state.borrow_mut();
        let listening = state.listening.entry(listener).or_default();
        if let Some((conn, from)) = listening.backlog.pop_front() {
            state.conns[conn].is_accepted = true;
            return Poll::Ready((End::new(self, conn), from));
        }
        listening.wakers.clear();
        listening.wakers.push(cx.waker().clone());
        if state.now >= listening.looks_at {
            listening.looks_at = state.now + 100_000;
            let at = listening.looks_at;
            state.at(at, What::Wake(cx.waker().clone()));
        }
        Poll::Pending
    }

    /// Whether a client waits at a listener.
    pub fn has_waiting(&self, listener: RawFd) -> bool {
        let state = self.state.borrow();
        let listening = state.listening.get(&listener);
        listening.is_some_and(|listening| !listening.backlog.is_empty())
    }

    /// Connects to a backend. Given up when it is dropped.
    pub fn connect(self: &Rc<Self>, addr: SocketAddr) -> Connecting {
        let state = &mut *self.state.borrow_mut();
        let number = state.attempts.len();
        state.attempts.push(Attempt {
            addr,
            outcome: None,
            waker: None,
            is_given_up: false,
            is_over: false,
        });
        state.soon(What::Connect(number));
        Connecting {
            kernel: self.clone(),
            number,
        }
    }
}

/// An attempt to connect that is waited for.
pub struct Connecting {
    kernel: Rc<Kernel>,
    number: usize,
}

impl Future for Connecting {
    type Output = io::Result<End>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<End>> {
        let state = &mut *self.kernel.state.borrow_mut();
        let attempt = &mut state.attempts[self.number];
        match attempt.outcome.take() {
            None => {
                attempt.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(Ok(conn)) => {
                attempt.is_over = true;
                Poll::Ready(Ok(End::new(&self.kernel, conn)))
            }
            Some(Err(kind)) => {
                attempt.is_over = true;
                Poll::Ready(Err(kind.into()))
            }
        }
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        let state = &mut *self.kernel.state.borrow_mut();
        let attempt = &mut state.attempts[self.number];
        attempt.is_given_up = true;
        attempt.is_over = true;
        if let Some(Ok(conn)) = attempt.outcome.take() {
            state.conns[conn].is_proxy_open = false;
            state.flow(conn, Side::Peer).sent_end = Some(Ending::Orderly);
            state.send(
                conn,
                Side::Peer,
                What::End(conn, Side::Peer, Ending::Orderly),
            );
        }
    }
}
