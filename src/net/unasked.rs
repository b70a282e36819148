//! Bytes and ends that come on an idle connection. Nothing is due on it, so whatever came ends its use: an end, or
//! bytes that would be taken for the answer to the next request.

use super::Socket;
use super::plain_socket::Unasked;

impl Socket {
    /// Bytes or an end that have come by now, which the kernel knows sooner than the ring tells: one system call if
    /// nothing has come. Records that TLS sends for itself, such as tickets, are taken in and counts as nothing.
    pub fn unasked(&self) -> Option<Unasked> {
        let in_kernel = self.plain.unasked();
        match &self.tls {
            None => in_kernel,
            Some(tls) if in_kernel.is_none() && !tls.holds_any() => None,
            Some(tls) => tls.unasked(&self.plain),
        }
    }

    /// Whether the peer has received all that was sent, and nothing of what it sent waits to be received, TLS records
    /// of any kind included. Otherwise closing the connection could reset it, and take from the peer what it has not
    /// received.
    pub fn is_quiet(&self) -> bool {
        self.unacknowledged() == 0 && self.plain.unasked() != Some(Unasked::Bytes)
    }

    /// Bytes that were sent and that the peer's kernel has not acknowledged; of a Unix socket, that the peer has not
    /// read.
    pub fn unacknowledged(&self) -> usize {
        self.plain.unacknowledged()
    }
}
