//! The end of the process: what the process waits for before it ends, and how long.

use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::Control;
use crate::base::limits;
use crate::base::time::Micros;
use crate::control::signals::Signal;

impl Control {
    /// Whether it is time to end the process. The process first waits for a change that is on its way to the disk and
    /// can no longer be called off, as long as the disk answers and no second signal has come.
    pub(super) fn may_end(&self, now: Micros) -> bool {
        let committed = self.files.committed_until();
        let must_wait = committed.is_some_and(|until| now < until) && !self.shutdown.is_at_once();
        self.shutdown.is_over(now) && !must_wait
    }

    /// Gives callers that wait for an answer their last one.
    pub(super) async fn tell_last(&mut self) {
        self.refuse_committed(Micros::now());
        // The tasks that send the answers run while this one sleeps.
        sleep(Duration::from_millis(limits::LAST_ANSWERS_MILLIS)).await;
    }

    /// Waits until a new process that was given up has ended; another signal to stop ends it and the wait at once.
    /// Returns the exit code as far as it depends on that process.
    pub(super) async fn end_new_process(
        &mut self,
        next_signal: &mut impl AsyncFnMut() -> Signal,
    ) -> u8 {
        let is_at_once = self.shutdown.is_at_once();
        let deadline = self.shutdown.deadline().unwrap_or_default();
        let patience = Duration::from_micros(deadline.since(Micros::now()));
        let upgrades = &mut self.upgrade_run.upgrades;
        if !upgrades.is_under_way() {
            return 0;
        }
        let hurry =
            async { while !is_at_once && !matches!(next_signal().await, Signal::Stop(_)) {} };
        let no_cut = tokio::select! {
            biased;
            () = hurry => upgrades.kill_abandoned(),
            no_cut = upgrades.wait_for_abandoned(patience) => no_cut,
        };
        u8::from(!no_cut)
    }

    /// Has what is in the memory of the cache written to its disk, if there is one, and waits for that within a bound.
    /// Another signal to stop ends the wait.
    pub(super) async fn end_disk(&self, next_signal: &mut impl AsyncFnMut() -> Signal) {
        let Some(store) = self
            .monitoring
            .store()
            .filter(|_| !self.shutdown.is_at_once())
        else {
            return;
        };
        store.begin_disk_end();
        let pause = Duration::from_millis(limits::CUT_PAUSE_MILLIS);
        let most = limits::DISK_END_MILLIS + limits::DISK_LAST_WRITE_MILLIS;
        let ended = async {
            for _ in 0..most / limits::CUT_PAUSE_MILLIS {
                if store.has_disk_ended() {
                    return;
                }
                sleep(pause).await;
            }
            warn!("cache: the disk is too slow to take all that was in memory");
        };
        let hurry = async { while !matches!(next_signal().await, Signal::Stop(_)) {} };
        tokio::select! {
            biased;
            () = ended => {}
            () = hurry => {}
        }
    }

    /// Has the workers record the requests that are cut, and waits for that within a bound.
    pub(super) async fn record_cut(&mut self) {
        self.threads.cut();
        let pause = Duration::from_millis(limits::CUT_PAUSE_MILLIS);
        for _ in 0..limits::CUT_MILLIS / limits::CUT_PAUSE_MILLIS {
            if self.monitoring.is_idle() {
                return;
            }
            self.threads.send();
            sleep(pause).await;
        }
    }
}
