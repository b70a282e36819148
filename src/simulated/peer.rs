//! The other end of a simulated connection: what a client or a backend does to it.

use std::net::SocketAddr;

use super::flow::Ending;
use super::kernel::{ConnId, Kernel, Side, What};

impl Kernel {
    /// Sends what there is room for of `bytes`; how many they were.
    pub fn peer_send(&self, conn: ConnId, bytes: &[u8]) -> usize {
        let state = &mut *self.state.borrow_mut();
        let flow = &mut state.conns[conn].to_proxy;
        if flow.sent_end.is_some() {
            return bytes.len(); // The bytes go nowhere.
        }
        let count = flow.room().min(bytes.len());
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            let portion = state.weather.portion(rest.len(), &mut state.random);
            let (segment, others) = rest.split_at(portion);
            state.conns[conn].to_proxy.under_way += portion;
            let what = What::Segment(conn, Side::Proxy, segment.to_vec());
            state.send(conn, Side::Proxy, what);
            rest = others;
        }
        count
    }

    /// Says that nothing more will be sent.
    pub fn peer_end_sending(&self, conn: ConnId) {
        let state = &mut *self.state.borrow_mut();
        if state.conns[conn].to_proxy.sent_end.is_none() {
            state.conns[conn].to_proxy.sent_end = Some(Ending::Orderly);
            state.send(
                conn,
                Side::Proxy,
                What::End(conn, Side::Proxy, Ending::Orderly),
            );
        }
    }

    /// Closes the connection: with a reset if something was not read or `resets`.
    pub fn peer_close(&self, conn: ConnId, resets: bool) {
        let is_reset = {
            let state = &mut *self.state.borrow_mut();
            let one = &mut state.conns[conn];
            if !one.is_peer_open {
                return;
            }
            one.is_peer_open = false;
            one.to_peer.wake_sender();
            let is_unread = !one.to_peer.queue.is_empty();
            let is_over = one.to_peer.end == Some(Ending::Reset);
            (resets || is_unread) && !is_over
        };
        if is_reset {
            let state = &mut *self.state.borrow_mut();
            state.conns[conn].to_proxy.sent_end = Some(Ending::Reset);
            state.send(
                conn,
                Side::Proxy,
                What::End(conn, Side::Proxy, Ending::Reset),
            );
        } else {
            self.peer_end_sending(conn);
        }
    }

    /// Reads at most `most` bytes that have arrived.
    pub fn peer_read(&self, conn: ConnId, most: usize) -> Vec<u8> {
        let state = &mut *self.state.borrow_mut();
        let flow = &mut state.conns[conn].to_peer;
        let bytes = flow.read(most);
        if !bytes.is_empty()
            && let Some(sender) = flow.sender.take()
        {
            state.soon(What::Wake(sender));
        }
        bytes
    }

    /// How the proxy's direction has ended, once all of it was read.
    pub fn peer_end(&self, conn: ConnId) -> Option<Ending> {
        let state = self.state.borrow();
        let flow = &state.conns[conn].to_peer;
        flow.end.filter(|_| flow.queue.is_empty())
    }

    /// Whether the proxy has accepted the connection.
    pub fn is_accepted(&self, conn: ConnId) -> bool {
        self.state.borrow().conns[conn].is_accepted
    }

    /// Whether the proxy has not closed its end.
    pub fn is_proxy_open(&self, conn: ConnId) -> bool {
        self.state.borrow().conns[conn].is_proxy_open
    }

    /// The settings of TLS that the proxy has made the connection with.
    pub fn secured(&self, conn: ConnId) -> Option<usize> {
        self.state.borrow().conns[conn].secured
    }

    /// Where the proxy connected to.
    pub fn backend_of(&self, conn: ConnId) -> Option<SocketAddr> {
        self.state.borrow().conns[conn].backend
    }

    /// The connections to a backend whose end at the proxy is open.
    pub fn open_to(&self, addr: SocketAddr) -> usize {
        let state = self.state.borrow();
        let conns = state.conns.iter();
        conns
            .filter(|conn| conn.is_proxy_open && conn.backend == Some(addr))
            .count()
    }

    /// The connections whose end at the proxy is open, to clients and to backends.
    pub fn open_ends(&self) -> (usize, usize) {
        let state = self.state.borrow();
        let is_open = |backend: bool| {
            let conns = state.conns.iter();
            conns
                .filter(|conn| conn.is_proxy_open && conn.is_accepted)
                .filter(|conn| conn.backend.is_some() == backend)
                .count()
        };
        (is_open(false), is_open(true))
    }
}
