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

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::worker::sample::run_worker;

    #[test]
    fn accepting_waits_after_an_error_unless_only_the_client_was_gone() {
        let exhausted = rustix::io::Errno::MFILE.raw_os_error();
        let least = limits::ACCEPT_PAUSE_MILLIS - limits::TICK_MILLIS;
        let rows: [(io::Error, u64); 3] = [
            (ErrorKind::ConnectionAborted.into(), 0),
            (ErrorKind::OutOfMemory.into(), least),
            (io::Error::from_raw_os_error(exhausted), least),
        ];
        run_worker(
            &[],
            |_| (),
            async |shard| {
                for (error, least) in rows {
                    let began = shard.timers.millis();
                    pause_after(&shard, &error).await;
                    let paused = shard.timers.millis() - began;
                    assert!(paused >= least, "{error}: {paused} ms");
                }
            },
        );
    }
}
