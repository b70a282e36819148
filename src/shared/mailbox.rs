//! A bounded channel into a thread that sleeps in its runtime: crossbeam carries the message, an eventfd wakes the
//! reader. Nobody polls, and an idle mailbox costs nothing.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError};

/// The sending side; cheap to clone.
#[derive(Debug)]
pub struct Mailbox<T> {
    sender: Sender<T>,
    wake: Arc<OwnedFd>,
}

/// The receiving side, owned by one thread.
#[derive(Debug)]
pub struct Letters<T> {
    receiver: Receiver<T>,
    wake: Arc<OwnedFd>,
}

/// A mailbox for at most `capacity` messages.
pub fn mailbox<T>(capacity: usize) -> io::Result<(Mailbox<T>, Letters<T>)> {
    // SAFETY: plain system call; the descriptor is owned from here on.
    let wake = unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Arc::new(OwnedFd::from_raw_fd(fd))
    };
    let (sender, receiver) = crossbeam_channel::bounded(capacity);
    let letters = Letters {
        receiver,
        wake: wake.clone(),
    };
    Ok((Mailbox { sender, wake }, letters))
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Mailbox {
            sender: self.sender.clone(),
            wake: self.wake.clone(),
        }
    }
}

impl<T> Mailbox<T> {
    /// Posts a message and wakes the reader; never waits. Errors: the message back, if the mailbox is full or its
    /// reader gone.
    pub fn post(&self, message: T) -> Result<(), T> {
        match self.sender.try_send(message) {
            Ok(()) => {
                let one = 1u64.to_ne_bytes();
                // SAFETY: writes eight bytes from a live array to a descriptor that `self` keeps open. A full counter
                // (EAGAIN) means that the reader is already due to wake.
                unsafe { libc::write(self.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
                Ok(())
            }
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => Err(message),
        }
    }
}

impl<T> Letters<T> {
    /// The next message, if one is there.
    pub fn take(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// The eventfd that becomes readable when messages came; for the runtime to wait on.
    pub fn wake_fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// Makes the eventfd unreadable again. Call it before taking messages, so that none is missed.
    pub fn clear_wake(&self) {
        let mut count = [0u8; 8];
        // SAFETY: reads eight bytes into a live array; the descriptor does not block.
        unsafe { libc::read(self.wake.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}
