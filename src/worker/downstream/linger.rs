//! A client's socket outside requests: what comes before them, and the end, so that what was sent last arrives.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::base::limits;
use crate::net::{Block, Blocks, Expired, Socket, Timer};

/// How long a peer may take none of what was said to it last, where that is no answer.
pub const LINGER: Duration = Duration::from_millis(limits::LINGER_MILLIS);

/// Lets the client read its last answer although it may be sending: says that nothing more comes, and throws away
/// what the client still sends for a while, and for as long as it takes what is on its way to it (RFC 9112 section
/// 9.6). Closing at once would reset the connection, and with it the answer, when something of the client's comes.
/// `stall`: how long the client may take none of that.
pub async fn linger(socket: &Socket, blocks: &Blocks, timer: &Timer, stall: Duration) {
    socket.end_sending();
    let wait = Duration::from_millis(limits::LINGER_MILLIS);
    timer.set(wait);
    let (mut left, mut stalled) = (limits::LINGER_BYTES, Duration::ZERO);
    let mut unacknowledged = socket.unacknowledged();
    while left > 0 {
        socket.watch();
        let mut block = blocks.take();
        let received = timer.bound(|cx| poll_receive(socket, &mut block, cx)).await;
        blocks.give(block);
        match received {
            Ok(Ok(count)) if count > 0 => left = left.saturating_sub(count as u64),
            Ok(_) => return,
            Err(Expired) => {
                let now = socket.unacknowledged();
                let has_moved = now < unacknowledged;
                stalled = if has_moved {
                    Duration::ZERO
                } else {
                    stalled + wait
                };
                if now == 0 || stalled >= stall {
                    return;
                }
                unacknowledged = now;
                timer.set(wait);
            }
        }
    }
}

/// Receives something behind what `block` holds, at most until the timer's deadline; false if nothing more will come.
pub async fn receive_some(socket: &Socket, block: &mut Block, timer: &Timer) -> bool {
    socket.watch();
    let received = timer.bound(|cx| poll_receive(socket, block, cx)).await;
    matches!(received, Ok(Ok(count)) if count > 0)
}

fn poll_receive(
    socket: &Socket,
    block: &mut Block,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_readable(cx));
        match socket.receive(block, usize::MAX) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.watch(),
            outcome => {
                socket.watch();
                return Poll::Ready(outcome);
            }
        }
    }
}
