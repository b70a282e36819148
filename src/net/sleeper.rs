//! The runtime of a thread that mostly sleeps: epoll, with timers of the engine's own.

use std::future::Future;
use std::io;
use std::time::Duration;

use monoio::net::UnixStream;
use monoio::{LegacyDriver, RuntimeBuilder};

/// Runs `future` and all that it spawns on this thread until it is done. Errors: the engine cannot be started.
pub fn run_sleeper<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build();
    Ok(runtime?.block_on(future))
}

/// The outcome of `future`, or `None` if it is not done within `time`. Only for a thread of [`run_sleeper`].
pub async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    monoio::time::timeout(time, future).await.ok()
}

/// The end of a socket pair to which other threads write to wake this one.
pub struct WakeSocket(UnixStream);

impl WakeSocket {
    /// Takes over the reading end. Errors: the engine does not take the socket.
    pub fn new(socket: std::os::unix::net::UnixStream) -> io::Result<WakeSocket> {
        Ok(WakeSocket(UnixStream::from_std(socket)?))
    }

    /// Waits until somebody has woken this thread, at most for `most`. Errors: the socket cannot be waited for.
    pub async fn wait(&self, most: Duration) -> io::Result<()> {
        within(most, self.0.readable(false)).await.unwrap_or(Ok(()))
    }
}
