//! What an idle connection has brought. Nothing is due on it, so whatever came ends its use: an end, or bytes that
//! would be taken for the answer to the next request.

use super::Socket;

/// The thing that came on a connection on which nothing was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// The peer has ended its side or is gone.
    End,
    Bytes,
}

impl Socket {
    /// What has come by now, which the kernel knows sooner than the ring tells it: one system call if nothing has. What
    /// TLS sends for itself, such as tickets, is taken in and counts as nothing.
    pub fn unasked(&self) -> Option<Unasked> {
        #[cfg(test)]
        if let Some(end) = &self.simulated {
            return end.peek().map(|is_bytes| {
                if is_bytes {
                    Unasked::Bytes
                } else {
                    Unasked::End
                }
            });
        }
        let in_kernel = peek(self);
        match &self.tls {
            None => in_kernel,
            Some(tls) if in_kernel.is_none() && !tls.holds_any() => None,
            Some(tls) => tls.unasked(self.fd()),
        }
    }

    /// Whether the peer has received all that was sent, and nothing of what it sent waits to be received, TLS records
    /// of any kind included. Otherwise closing the connection could reset it, and take from the peer what it has not
    /// received.
    pub fn is_quiet(&self) -> bool {
        #[cfg(test)]
        if let Some(end) = &self.simulated {
            return end.unacknowledged() == 0 && end.peek() != Some(true);
        }
        self.unacknowledged() == 0 && peek(self) != Some(Unasked::Bytes)
    }

    /// Bytes that were sent and that the peer's kernel has not acknowledged; of a Unix socket, that the peer has not
    /// read.
    pub fn unacknowledged(&self) -> usize {
        #[cfg(test)]
        if let Some(end) = &self.simulated {
            return end.unacknowledged();
        }
        let mut bytes: libc::c_int = 0;
        // SAFETY: the kernel writes one integer to `bytes`, during the call.
        let done = unsafe { libc::ioctl(self.fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if done == 0 { bytes as usize } else { 0 }
    }
}

fn peek(socket: &Socket) -> Option<Unasked> {
    let mut byte = 0u8;
    // SAFETY: the kernel writes at most one byte to `byte`, during the call.
    let length = unsafe {
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        libc::recv(socket.fd(), (&raw mut byte).cast(), 1, flags)
    };
    match length {
        1.. => Some(Unasked::Bytes),
        0 => Some(Unasked::End),
        _ => match std::io::Error::last_os_error().kind() {
            std::io::ErrorKind::WouldBlock => None,
            _ => Some(Unasked::End),
        },
    }
}
