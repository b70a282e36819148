//! The end of the process: what the process waits for before it ends, and how long.

use std::time::Duration;

use tokio::time::sleep;

use super::Control;
use crate::base::limits;
use crate::base::time::Micros;
use crate::shared::gauges;

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

    /// Has the workers record the requests that are cut, and waits for that within a bound.
    pub(super) async fn record_cut(&mut self) {
        self.threads.cut();
        let pause = Duration::from_millis(limits::CUT_PAUSE_MILLIS);
        for _ in 0..limits::CUT_MILLIS / limits::CUT_PAUSE_MILLIS {
            if gauges::exchanges(&self.gauges) == 0 {
                return;
            }
            self.threads.send();
            sleep(pause).await;
        }
    }
}
