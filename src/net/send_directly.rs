//! Sends by plain system calls, which is how lent memory goes: whole pages by reference, which costs no copy, and what
//! is around them. The call for pages has no flag that keeps it from waiting for the peer, so that the socket itself
//! is told never to wait. The ring cannot send on such a socket: all that is sent on it later goes this way, too.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, sendfile};
use rustix::io::Errno;
use rustix::net::{SendFlags, send, sockopt};

use super::plain_socket::PlainSocket;
use super::{Block, Expired, Timer};
use crate::base::lent::LentPart;

impl PlainSocket {
    /// Sends as [`PlainSocket::send`] does.
    pub(super) async fn send_directly(
        &self,
        block: &mut Block,
        mut count: usize,
        timer: &Timer,
        progress: &impl Fn(usize),
    ) -> Result<io::Result<()>, Expired> {
        let mut has_waited = false;
        while count > 0 {
            match self.send_at_once(block, count) {
                Ok(sent) => {
                    block.advance(sent);
                    count -= sent;
                    progress(sent);
                    has_waited = false;
                }
                Err(Errno::INTR) => {}
                // The kernel lacks memory for any socket: others have their turn before the next attempt.
                Err(Errno::AGAIN) if has_waited => {
                    timer.bound(yield_once()).await?;
                    has_waited = false;
                }
                Err(Errno::AGAIN) => match self.await_writable(timer).await? {
                    Ok(()) => has_waited = true,
                    Err(error) => return Ok(Err(error)),
                },
                Err(error) => return Ok(Err(error.into())),
            }
        }
        Ok(Ok(()))
    }

    /// Sends what the kernel takes at once of the first `count` bytes of a block. Errors: [`Errno::AGAIN`] if that is
    /// nothing.
    fn send_at_once(&self, block: &mut Block, count: usize) -> Result<usize, Errno> {
        let sent = match block.next_part(count) {
            LentPart::Copied { bytes, is_last } => {
                let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                flags.set(SendFlags::MORE, !is_last);
                return send(self.fd(), bytes, flags);
            }
            LentPart::Pages { file, range } => {
                let behind = (range.end - range.start) as usize..count;
                self.send_pages(file, range, &block.filled()[behind])
            }
        };
        match sent {
            // Not every kind of socket takes pages, and a sandbox may forbid the call.
            Ok(0) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                block.forgo_pages();
                Err(Errno::INTR)
            }
            sent => sent,
        }
    }

    /// Sends pages of a file, and the bytes behind them in the same packet as the last of the pages.
    fn send_pages(
        &self,
        file: BorrowedFd<'_>,
        range: Range<u64>,
        behind: &[u8],
    ) -> Result<usize, Errno> {
        let socket = self.fd();
        if !self.never_waits.replace(true) {
            fcntl_setfl(socket, fcntl_getfl(socket)? | OFlags::NONBLOCK)?;
        }
        // Only TCP has packets: the option is nothing to other sockets.
        let hold_back = |is_held| {
            if !behind.is_empty() {
                let _ = sockopt::set_tcp_cork(socket, is_held);
            }
        };
        let length = (range.end - range.start) as usize;
        let mut offset = range.start;
        hold_back(true);
        let mut sent = sendfile(socket, file, Some(&mut offset), length);
        if sent == Ok(length) && !behind.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            // The rest is sent later, and the next call meets an error again.
            sent = Ok(length + send(socket, behind, flags).unwrap_or(0));
        }
        hold_back(false);
        sent
    }
}

/// Pending once; the task is woken at once, behind those that are ready.
fn yield_once() -> impl FnMut(&mut Context<'_>) -> Poll<()> {
    let mut has_yielded = false;
    move |cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
