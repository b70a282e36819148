//! How many sockets the process has open, over all threads: what is known before a descriptor is asked for.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

static WAITING: CachePadded<AtomicUsize> = CachePadded::new(AtomicUsize::new(0));
static ACCEPTED: CachePadded<AtomicUsize> = CachePadded::new(AtomicUsize::new(0));
static CONNECTED: CachePadded<AtomicUsize> = CachePadded::new(AtomicUsize::new(0));

/// The end of a connection that a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketSide {
    /// A client connected to it.
    Accepted,
    /// The socket is connected, or is being connected, to a backend.
    Connected,
}

/// Open sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketCounters {
    /// The number of connections of clients that are served.
    pub accepted: usize,
    /// The number of connections to backends.
    pub connected: usize,
}

impl SocketCounters {
    /// Of both sides.
    pub fn all(self) -> usize {
        self.accepted + self.connected
    }
}

/// The sockets that are open now. Other threads may open and close some meanwhile.
pub fn socket_counters() -> SocketCounters {
    SocketCounters {
        accepted: ACCEPTED.load(Relaxed).saturating_sub(WAITING.load(Relaxed)),
        connected: CONNECTED.load(Relaxed),
    }
}

/// A client that was accepted and waits for a place. Descriptors are kept aside for as many as can wait at once, so
/// that their sockets do not count among the others.
pub struct WaitingSocket(());

impl Default for WaitingSocket {
    /// Counts one more.
    fn default() -> WaitingSocket {
        WAITING.fetch_add(1, Relaxed);
        WaitingSocket(())
    }
}

impl Drop for WaitingSocket {
    fn drop(&mut self) {
        let before = WAITING.fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "a client that waits was counted");
    }
}

/// Counts a socket from before it is asked for until it is dropped.
pub struct CountedSocket(SocketSide);

impl CountedSocket {
    /// Counts one more.
    pub fn new(side: SocketSide) -> CountedSocket {
        count_of(side).fetch_add(1, Relaxed);
        CountedSocket(side)
    }
}

impl Drop for CountedSocket {
    fn drop(&mut self) {
        let before = count_of(self.0).fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "an open socket was counted");
    }
}

fn count_of(side: SocketSide) -> &'static AtomicUsize {
    match side {
        SocketSide::Accepted => &ACCEPTED,
        SocketSide::Connected => &CONNECTED,
    }
}
