//! The proxy's end of a simulated connection: what a socket's system calls and the engine's operations come to.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::flow::Ending;
use super::kernel::{Conn, ConnId, Kernel, Side, What};

/// The proxy's end of a connection, which closes when its last clone is dropped.
#[derive(Clone)]
pub struct End(Rc<Held>);

struct Held {
    kernel: Rc<Kernel>,
    conn: ConnId,
}

impl End {
    pub(super) fn new(kernel: &Rc<Kernel>, conn: ConnId) -> End {
        End(Rc::new(Held {
            kernel: kernel.clone(),
            conn,
        }))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Conn) -> T) -> T {
        let state = &mut *self.0.kernel.state.borrow_mut();
        look(&mut state.conns[self.0.conn])
    }

    /// Begins to wait for bytes or the end.
    pub fn watch(&self) {
        let state = &mut *self.0.kernel.state.borrow_mut();
        let watch = &mut state.conns[self.0.conn].watch;
        assert!(!watch.is_begun, "a wait is begun once");
        watch.is_begun = true;
        state.complete_watch(self.0.conn);
    }

    /// Whether bytes are waited for.
    pub fn is_watched(&self) -> bool {
        self.with(|conn| conn.watch.is_begun)
    }

    /// Ready when the wait has completed, which is over then.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|conn| {
            assert!(conn.watch.is_begun, "a wait is begun before it is polled");
            if !conn.watch.is_complete {
                conn.watch.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            conn.watch.is_begun = false;
            conn.watch.is_complete = false;
            Poll::Ready(())
        })
    }

    /// Receives at most `most` bytes of what is there, perhaps fewer. None: the end.
    pub fn receive(&self, most: usize) -> io::Result<Vec<u8>> {
        let state = &mut *self.0.kernel.state.borrow_mut();
        let conn = self.0.conn;
        let there = state.conns[conn].to_proxy.queue.len().min(most);
        if there == 0 {
            return match state.conns[conn].to_proxy.end {
                None => Err(io::ErrorKind::WouldBlock.into()),
                Some(Ending::Orderly) => Ok(Vec::new()),
                Some(Ending::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
            };
        }
        let count = state.weather.portion(there, &mut state.random);
        let bytes = state.conns[conn].to_proxy.read(count);
        state.trace(|| format!("connection {conn}: received {count} of {there}, {most}"));
        state.happenings.push_back(super::Happening::Changed(conn));
        Ok(bytes)
    }

    /// The result of a receive at this moment: bytes (`Some(true)`), an end (`Some(false)`), nothing.
    pub fn peek(&self) -> Option<bool> {
        self.with(
            |conn| match (conn.to_proxy.queue.is_empty(), conn.to_proxy.end) {
                (false, _) => Some(true),
                (true, Some(_)) => Some(false),
                (true, None) => None,
            },
        )
    }

    /// Whether the peer has ended its side or is gone.
    pub fn has_hung_up(&self) -> bool {
        self.with(|conn| conn.to_proxy.end.is_some())
    }

    /// Whether the connection is of no use in either direction.
    pub fn is_over(&self) -> bool {
        self.with(|conn| {
            let is_ended = conn.to_proxy.end.is_some() && conn.to_peer.sent_end.is_some();
            is_ended || conn.to_proxy.end == Some(Ending::Reset)
        })
    }

    /// Whether the connection was reset.
    pub fn is_reset(&self) -> bool {
        self.with(|conn| conn.to_proxy.end == Some(Ending::Reset))
    }

    /// Bytes that the peer's side has not received.
    pub fn unacknowledged(&self) -> usize {
        self.with(|conn| conn.to_peer.under_way)
    }

    /// Notes by which settings of TLS the connection was made.
    pub fn secure(&self, settings: usize) {
        self.with(|conn| conn.secured = Some(settings));
    }

    /// Says that nothing more will be sent.
    pub fn end_sending(&self) {
        let state = &mut *self.0.kernel.state.borrow_mut();
        let conn = self.0.conn;
        if state.conns[conn].to_peer.sent_end.is_none() {
            state.conns[conn].to_peer.sent_end = Some(Ending::Orderly);
            state.conns[conn].to_peer.wake_sender();
            state.send(
                conn,
                Side::Peer,
                What::End(conn, Side::Peer, Ending::Orderly),
            );
        }
    }

    /// Ends both directions.
    pub fn end(&self) {
        self.end_sending();
        let state = &mut *self.0.kernel.state.borrow_mut();
        let flow = &mut state.conns[self.0.conn].to_proxy;
        flow.end = flow.end.or(Some(Ending::Orderly));
        state.complete_watch(self.0.conn);
    }

    /// Makes closing a reset.
    pub fn reset_on_close(&self) {
        self.with(|conn| conn.resets_on_close = true);
    }

    /// Sends some of `bytes`; how many is the outcome.
    pub fn send(&self, bytes: Vec<u8>) -> Sending {
        Sending {
            end: self.clone(),
            bytes,
            due: None,
            is_done: false,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let state = &mut *self.kernel.state.borrow_mut();
        let conn = self.conn;
        state.trace(|| format!("connection {conn}: the proxy closes"));
        let one = &mut state.conns[conn];
        one.is_proxy_open = false;
        one.watch = super::kernel::Watch::default();
        let is_unread = !one.to_proxy.queue.is_empty();
        if one.to_peer.sent_end == Some(Ending::Reset) || one.to_proxy.end == Some(Ending::Reset) {
            return;
        }
        if is_unread || one.resets_on_close {
            // Bytes that the peer's side has not received by then may be lost.
            one.to_peer.is_cut = state.random.number().is_multiple_of(2);
            state.conns[conn].to_peer.sent_end = Some(Ending::Reset);
            state.send(conn, Side::Peer, What::End(conn, Side::Peer, Ending::Reset));
        } else if one.to_peer.sent_end.is_none() {
            one.to_peer.sent_end = Some(Ending::Orderly);
            state.send(
                conn,
                Side::Peer,
                What::End(conn, Side::Peer, Ending::Orderly),
            );
        }
    }
}

/// A send that the engine was given.
pub struct Sending {
    end: End,
    bytes: Vec<u8>,
    /// When the engine comes to it.
    due: Option<u64>,
    is_done: bool,
}

impl Sending {
    /// Hands as many bytes over as there is room for. `None`: there is none.
    fn hand_over(&mut self) -> Option<io::Result<usize>> {
        let held = &*self.end.0;
        let state = &mut *held.kernel.state.borrow_mut();
        let flow = &mut state.conns[held.conn].to_peer;
        if flow.sent_end.is_some() {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = flow.room().min(self.bytes.len());
        if room == 0 {
            return None;
        }
        let count = state.weather.portion(room, &mut state.random);
        state.conns[held.conn].to_peer.under_way += count;
        let bytes = self.bytes[..count].to_vec();
        state.trace(|| {
            format!(
                "connection {}: sent {count} of {}",
                held.conn,
                self.bytes.len()
            )
        });
        state.send(
            held.conn,
            Side::Peer,
            What::Segment(held.conn, Side::Peer, bytes),
        );
        Some(Ok(count))
    }
}

impl Future for Sending {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let kernel = self.end.0.kernel.clone();
        let due = match self.due {
            Some(due) => due,
            None => {
                let state = &mut *kernel.state.borrow_mut();
                let delay = state.random.number() % 30;
                state.after(delay, What::Wake(cx.waker().clone()));
                kernel.now() + delay
            }
        };
        self.due = Some(due);
        if kernel.now() < due {
            return Poll::Pending;
        }
        match self.hand_over() {
            Some(outcome) => {
                self.is_done = true;
                Poll::Ready(outcome)
            }
            None => {
                self.end
                    .with(|conn| conn.to_peer.sender = Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Sending {
    /// A send that is given up may have been carried out all the same.
    fn drop(&mut self) {
        if !self.is_done && self.due.is_some() {
            let chance = {
                let state = &mut *self.end.0.kernel.state.borrow_mut();
                state.random.number() % 2
            };
            if chance == 0 {
                let _ = self.hand_over();
            }
        }
    }
}
