//! The health thread: probes every backend, listens to what the workers saw, and tells all workers when a backend's
//! state changes.

mod jitter;
mod judge;
mod probe;
mod watch;

use std::io;
use std::thread::JoinHandle;

use crate::shared::mailbox::{Letters, Mailbox};
use crate::shared::messages::{ToHealth, ToWorker};

/// Starts the thread. It watches nothing until it is sent a [`ToHealth::Snapshot`], and ends on [`ToHealth::Stop`].
/// Errors: no thread or no descriptors left.
pub fn start(
    letters: Letters<ToHealth>,
    workers: Vec<Mailbox<ToWorker>>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("health".to_owned())
        .spawn(move || drop((letters, workers)))
}
