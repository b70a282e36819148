//! Pauses in accepting: an error of accepting ends no listener, but delays the next attempt.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use tracing::warn;

use crate::base::limits;
use crate::net::{Timer, is_exhausted};
use crate::worker::shard::Shard;

/// Waits for the time that an error of accepting suggests.
pub async fn pause_after(shard: &Shard, error: &io::Error) {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return shard.turn.pass().await; // The client closed the connection before it was accepted.
    }
    if is_exhausted(error) && shard.log_ration.may_log_exhaustion() {
        warn!("accepting pauses: {error}; connections already established go on");
    }
    pause(shard).await;
}

/// Waits a little before the next attempt to accept.
pub async fn pause(shard: &Shard) {
    let timer = Timer::new(&shard.timers);
    timer.set(Duration::from_millis(limits::ACCEPT_PAUSE_MILLIS));
    poll_fn(|cx| timer.poll(cx)).await;
}
