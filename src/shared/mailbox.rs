//! A bounded channel into a thread that sleeps in its runtime: crossbeam carries the message, one byte through a pair
//! of connected sockets wakes the reader. Nobody polls, and an idle mailbox costs nothing.
//!
//! The pair could be an eventfd, which is smaller; but a stream socket is what every runtime here (io_uring, epoll,
//! tokio) already knows how to wait on, without a line of unsafe code.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};

/// The sending side; cheap to clone.
#[derive(Debug)]
pub struct Mailbox<T> {
    sender: Sender<T>,
    bell: Arc<UnixStream>,
}

/// The receiving side, owned by one thread.
#[derive(Debug)]
pub struct Inbox<T> {
    receiver: Receiver<T>,
    wake: UnixStream,
    bell: Arc<UnixStream>,
}

/// A mailbox for at most `capacity` messages. Errors: no descriptors left.
pub fn mailbox<T>(capacity: usize) -> io::Result<(Mailbox<T>, Inbox<T>)> {
    debug_assert!(capacity > 0, "a mailbox without room takes no message");
    let (bell, wake) = UnixStream::pair()?;
    bell.set_nonblocking(true)?;
    wake.set_nonblocking(true)?;
    let bell = Arc::new(bell);
    let (sender, receiver) = crossbeam_channel::bounded(capacity);
    let inbox = Inbox {
        receiver,
        wake,
        bell: bell.clone(),
    };
    Ok((Mailbox { sender, bell }, inbox))
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Mailbox {
            sender: self.sender.clone(),
            bell: self.bell.clone(),
        }
    }
}

impl<T> Mailbox<T> {
    /// Posts a message and wakes the reader; never waits. Errors: the message back, if the mailbox is full or its
    /// reader gone.
    pub fn post(&self, message: T) -> Result<(), T> {
        match self.sender.try_send(message) {
            Ok(()) => {
                ring(&self.bell);
                Ok(())
            }
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => Err(message),
        }
    }
}

impl<T> Inbox<T> {
    /// The next message, if one is there.
    pub fn take(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Waits for the next message, and blocks for `patience` at most. For a thread whose runtime does not run yet.
    pub fn take_within(&self, patience: Duration) -> Option<T> {
        self.receiver.recv_timeout(patience).ok()
    }

    /// A descriptor of the socket that becomes readable when messages came, for a runtime that owns what it waits on.
    /// The descriptor does not block. Errors: no descriptors are left.
    pub fn wake_stream(&self) -> io::Result<UnixStream> {
        self.wake.try_clone()
    }

    /// Makes the socket unreadable again. Call it before taking messages, so that none is missed.
    pub fn clear_wake(&self) {
        let mut bytes = [0u8; 256];
        loop {
            match (&self.wake).read(&mut bytes) {
                Ok(read) if read == bytes.len() => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }

    /// Wakes the reader without a message: for work that ends on the reader's own thread.
    pub fn wake(&self) {
        ring(&self.bell);
    }
}

/// One byte. If the socket's buffer is full, the reader is already due to wake; if the reader is gone, nobody is to be
/// woken.
fn ring(mut bell: &UnixStream) {
    #[cfg(test)]
    if let Some(kernel) = crate::simulated::kernel() {
        kernel.note_post();
    }
    let _ = bell.write(&[1]);
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn readable<T>(inbox: &Inbox<T>) -> bool {
        let mut entries = [PollFd::new(&inbox.wake, PollFlags::IN)];
        poll(&mut entries, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn messages_arrive_in_order_and_wake() {
        let (mailbox, inbox) = mailbox(4).unwrap();
        assert!(!readable(&inbox));
        for n in 1..=3 {
            mailbox.post(n).unwrap();
        }
        assert!(readable(&inbox));
        inbox.clear_wake();
        assert!(!readable(&inbox));
        let taken: Vec<_> = std::iter::from_fn(|| inbox.take()).collect();
        assert_eq!(taken, [1, 2, 3]);
    }

    #[test]
    fn a_full_or_orphaned_mailbox_gives_the_message_back() {
        let (mailbox, inbox) = mailbox(1).unwrap();
        mailbox.post("first").unwrap();
        assert_eq!(mailbox.post("second"), Err("second"));
        assert_eq!(inbox.take(), Some("first"));
        drop(inbox);
        assert_eq!(mailbox.post("third"), Err("third"));
    }

    #[test]
    fn more_wakes_than_a_socket_holds_neither_block_nor_stay() {
        let (mailbox, inbox) = mailbox(10_000).unwrap();
        for n in 0..10_000 {
            mailbox.post(n).unwrap();
        }
        inbox.clear_wake();
        assert!(!readable(&inbox));
        assert_eq!(std::iter::from_fn(|| inbox.take()).count(), 10_000);
        inbox.wake();
        assert!(readable(&inbox));
    }
}
